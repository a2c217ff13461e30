"""Where Baselines keeps the running mean and variance."""

from baselines_compat.running_mean_std import RunningMeanStd

__all__ = ["RunningMeanStd"]
