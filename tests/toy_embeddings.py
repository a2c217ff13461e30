"""Trajectory embeddings that are wrong, each in its own way."""

from __future__ import annotations

import numpy as np


def raises(trajectory, length):
    raise RuntimeError("two\nlines")


def nothing(trajectory, length):
    return None


def words(trajectory, length):
    return "far away"


def not_a_number(trajectory, length):
    return np.array([1.0, np.nan])


def empty(trajectory, length):
    return []


def of_no_fixed_length(trajectory, length):
    of_no_fixed_length.calls = getattr(of_no_fixed_length, "calls", 0) + 1
    return np.ones(of_no_fixed_length.calls)


def too_many(trajectory, length, more):
    return np.ones(1)
