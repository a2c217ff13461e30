"""Where Baselines keeps what collects batches."""

from baselines_compat.runner import Runner

__all__ = ["Runner"]
