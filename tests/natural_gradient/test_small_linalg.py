"""The small linear algebra against NumPy, eagerly and as XLA compiles it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from wng_tf.natural_gradient.small_linalg import (
    damped_inverse,
    eigh,
    gram,
    inverse_root,
    semidefinite_inverse,
    triangular_whitening,
)

ROOT = Path(__file__).parents[2]


def symmetric(eigenvalues, seed=0):
    rng = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(rng.normal(size=(len(eigenvalues),) * 2))
    matrix = (vectors * eigenvalues) @ vectors.T
    return 0.5 * (matrix + matrix.T)


SPECTRA = {
    "spread": np.logspace(0, -5, 6),
    "deficient": np.array([3.0, 1.0, 0.5, 0.0, 0.0, 0.0]),
    "clusters": np.array([1.0, 1.0, 1.0, 0.5, 1e-3, 1e-3]),
    "zero": np.zeros(6),
}


@pytest.fixture(scope="module")
def compiled_eigh():
    return tf.function(eigh, jit_compile=True)


@pytest.mark.parametrize("spectrum", SPECTRA)
def test_eigh_is_as_exact_compiled_as_eager(compiled_eigh, spectrum):
    for seed in range(10):
        matrix = symmetric(SPECTRA[spectrum], seed)
        for function in (eigh, compiled_eigh):
            values, vectors, finite = function(tf.constant(matrix))
            np.testing.assert_allclose(values, np.sort(SPECTRA[spectrum]), atol=1e-13)
            np.testing.assert_allclose(tf.transpose(vectors) @ vectors, np.eye(6), atol=1e-11)
            np.testing.assert_allclose((vectors * values) @ tf.transpose(vectors), matrix, atol=1e-11)
            assert bool(finite)


def test_eigh_of_nan_is_flagged(compiled_eigh):
    matrix = np.full((6, 6), np.nan)
    for function in (eigh, compiled_eigh, tf.function(eigh)):
        values, _, finite = function(tf.constant(matrix))
        assert not bool(finite)
        np.testing.assert_allclose(values, np.ones(6))


def test_inverse_root_squares_to_the_pseudo_inverse():
    for spectrum, rank in (("spread", 6), ("deficient", 3), ("clusters", 6), ("zero", 0)):
        matrix = symmetric(SPECTRA[spectrum])
        whitening, found, _ = inverse_root(tf.constant(matrix), 1e-10)
        assert found == rank
        expected = np.linalg.pinv(matrix, rcond=1e-10, hermitian=True) if rank else np.zeros((6, 6))
        np.testing.assert_allclose(tf.transpose(whitening) @ whitening, expected, rtol=1e-8, atol=1e-8)


def test_gram_of_few_and_of_many_rows():
    rng = np.random.default_rng(0)
    for count in (3, 20):
        a, b = rng.normal(size=(2, count, 50))
        np.testing.assert_allclose(gram(tf.constant(a), tf.constant(b)), a @ b.T, atol=1e-13)
        a, b = a.astype(np.float32), b.astype(np.float32)
        exact = a.astype(float) @ b.T.astype(float)
        np.testing.assert_allclose(gram(tf.constant(a), tf.constant(b)), exact, atol=1e-13)
        rounded = gram(tf.constant(a), tf.constant(b), tf.float32)
        assert rounded.dtype == tf.float64
        np.testing.assert_allclose(rounded, exact, atol=1e-4)


def test_semidefinite_inverse():
    matrix = symmetric(np.logspace(0, -6, 30))
    inverse = semidefinite_inverse(tf.constant(matrix), 1e-14)
    np.testing.assert_allclose(inverse @ matrix, np.eye(30), atol=1e-8)


@pytest.mark.parametrize(("size", "copy"), [(4, 2), (41, 3), (41, 30)])
def test_semidefinite_inverse_passes_over_a_repeated_row(size, copy):
    """Within a block, and across: the copy of row 1 is left out, and the rest is solved."""
    kept = symmetric(np.logspace(0, -3, size - 1))
    order = np.insert(np.arange(size - 1), copy, 1)
    expected = np.zeros((size, size))
    others = np.delete(np.arange(size), copy)
    expected[np.ix_(others, others)] = np.linalg.inv(kept)
    found = semidefinite_inverse(tf.constant(kept[np.ix_(order, order)]), 1e-8)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("size", [6, 30])
def test_damped_inverse_compiled(size):
    matrix, right = symmetric(np.logspace(0, -6, size)), np.random.default_rng(0).normal(size=size)

    @tf.function(jit_compile=True)
    def solution(matrix, epsilon):
        solve, highest, finite = damped_inverse(matrix, epsilon, 1e-14)
        return solve(tf.constant(right)), highest, finite

    for epsilon in (1e-7, 1.0):
        x, highest, finite = solution(tf.constant(matrix), tf.constant(epsilon, tf.float64))
        expected = np.linalg.solve(matrix + epsilon * np.eye(size), right)
        np.testing.assert_allclose(x, expected, rtol=1e-6)
        np.testing.assert_allclose(highest, 1.0, rtol=1e-6)
        assert bool(finite)
    assert not bool(solution(tf.constant(matrix * np.inf), tf.constant(1.0, tf.float64))[2])


ONE_PROGRAM = """
import os, sys
import numpy as np
import tensorflow as tf
from tests.natural_gradient.test_small_linalg import symmetric
from wng_tf.natural_gradient.small_linalg import (
    damped_inverse,
    eigh,
    gram,
    inverse_root,
    semidefinite_inverse,
    triangular_whitening,
)

@tf.function(jit_compile=True)
def solution(matrix):
    inverse, _, _ = inverse_root(matrix, 1e-9)
    solve, highest, _ = damped_inverse(matrix, tf.constant(0.1, tf.float64), 1e-14)
    return solve(inverse[0]), highest

for size in (6, 30):
    counts = []
    for seed, low in enumerate((-3, -2)):
        solution(tf.constant(symmetric(np.logspace(0, low, size), seed=seed)))
        counts.append(sum(name.endswith(".pb") for name in os.listdir(sys.argv[1])))
    print(size, *counts)
"""


def test_one_program_serves_all_matrices(tmp_path):
    """Some ops make XLA take their inputs for constants, and compile anew for each value: a second for a microsecond.

    Programs are counted where they are kept, in a process and a folder of its own: others compile at the same time.
    """
    flags = {"TF_XLA_FLAGS": f"--tf_xla_persistent_cache_directory={tmp_path}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [sys.executable, "-c", ONE_PROGRAM, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **flags}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["6 1 1", "30 2 2"]


@pytest.mark.parametrize("size", [1, 2, 5, 8, 9, 30])
def test_triangular_whitening(size):
    matrix = symmetric(np.logspace(0, -4, size))
    whitening = triangular_whitening(tf.constant(matrix)).numpy()
    np.testing.assert_allclose(whitening @ matrix @ whitening.T, np.eye(size), atol=1e-10)
    np.testing.assert_array_equal(np.triu(whitening, 1), 0.0)


@pytest.fixture(scope="module")
def compiled_inverse_root():
    return tf.function(lambda matrix: inverse_root(matrix, 1e-6), jit_compile=True, autograph=False)


@pytest.mark.parametrize(
    "eigenvalues",
    [
        np.logspace(0, -2, 5),
        np.logspace(0, -5.9, 5),  # too near the threshold for a bound on it to decide
        np.logspace(0, -6.1, 5),
        np.array([1.0, 0.5, 0.25, 1e-9, 0.0]),
        np.array([1e-3, 0.0, 0.0, 0.0, 0.0]),
        np.zeros(5),
    ],
    ids=["well conditioned", "just above", "just below", "deficient", "rank one", "zero"],
)
def test_compiled_rank_decisions_are_those_of_the_eigenvalues(compiled_inverse_root, eigenvalues):
    for seed in range(5):
        matrix = symmetric(eigenvalues, seed)
        expected, rank, _ = inverse_root(tf.constant(matrix), 1e-6)
        whitening, found, finite = compiled_inverse_root(tf.constant(matrix))
        assert int(found) == int(rank) and bool(finite)
        square, truth = tf.matmul(whitening, whitening, transpose_a=True), tf.matmul(expected, expected, transpose_a=True)
        np.testing.assert_allclose(square, truth, rtol=1e-6, atol=1e-6 * float(tf.reduce_max(tf.abs(truth))))


def test_compiled_damped_inverse_leaves_out_what_is_not_known():
    """With the same decision as by eigenvalues, whether elimination could tell or not."""

    @tf.function(jit_compile=True, autograph=False)
    def solution(matrix, right):
        return damped_inverse(matrix, tf.constant(1e-8, tf.float64), 1e-6)[0](right)

    right = tf.constant(np.random.default_rng(0).normal(size=5))
    for last in (1e-1, 1e-3, 1e-5, 1e-8, 0.0):
        matrix = tf.constant(symmetric(np.array([1.0, 0.5, 0.3, 0.2, last])))
        expected = damped_inverse(matrix, tf.constant(1e-8, tf.float64), 1e-6)[0](right)
        np.testing.assert_allclose(solution(matrix, right), expected, rtol=1e-6)


@pytest.mark.parametrize("size", [20, 41, 64])
def test_compiled_damped_inverse_of_many_rows_passes_over_a_pivot(size):
    """Of a singular matrix under hardly any damping, which elimination cannot be trusted with, and of a well damped one."""

    @tf.function(jit_compile=True, autograph=False)
    def solution(matrix, epsilon, right):
        return damped_inverse(matrix, epsilon, 1e-8)[0](right)

    rng = np.random.default_rng(0)
    right = rng.normal(size=size)
    kept = symmetric(np.logspace(0, -3, size - 1))
    order = np.insert(np.arange(size - 1), 3, 1)  # row 3 is row 1 again
    singular = kept[np.ix_(order, order)]
    others = np.delete(np.arange(size), 3)
    expected = np.zeros(size)
    expected[others] = np.linalg.solve(kept, right[others])
    found = solution(tf.constant(singular), tf.constant(1e-14, tf.float64), tf.constant(right))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    expected = np.linalg.solve(singular + 1e-3 * np.eye(size), right)
    found = solution(tf.constant(singular), tf.constant(1e-3, tf.float64), tf.constant(right))
    np.testing.assert_allclose(found, expected, rtol=1e-8)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("count", [9, 20, 41])
def test_gram_of_a_matrix_with_itself(count, dtype):
    a = np.random.default_rng(0).normal(size=(count, 50)).astype(np.float32)
    tensor = tf.constant(a)
    wide = a.astype(float)
    found = gram(tensor, tensor, dtype)
    np.testing.assert_allclose(found, wide @ wide.T, atol=1e-4 if dtype == tf.float32 else 1e-13)
