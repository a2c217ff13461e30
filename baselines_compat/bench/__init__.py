"""Baselines' `bench`: the monitor and what it recorded."""

from baselines_compat.bench.monitor import Monitor, load_results

__all__ = ["Monitor", "load_results"]
