"""Where Baselines keeps the reading and plotting of runs."""

from baselines_compat.plot_util import Result, default_split_fn, default_xy_fn, load_results, plot_results
from baselines_compat.smoothing import one_sided_ema, smooth, symmetric_ema

__all__ = [
    "Result",
    "default_split_fn",
    "default_xy_fn",
    "load_results",
    "one_sided_ema",
    "plot_results",
    "smooth",
    "symmetric_ema",
]
