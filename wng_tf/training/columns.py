"""The columns of progress.csv, by the family of algorithms that writes them. What they mean: docs/how_to/columns.md.

A part of a user's own may add others, under `loss/`, `wng/` or `es/`.
"""

from __future__ import annotations

_BOTH = """
    eprewmean eplenmean fps misc/total_timesteps misc/nupdates misc/time_elapsed misc/lr
    eval/eprewmean eval/eplenmean eval/eprewsd
    wng/epsilon wng/cosine wng/residual wng/effective_rank wng/condition_number wng/guarded wng/reduction_ratio
"""
POLICY_GRADIENT = frozenset(
    f"""{_BOTH}
    misc/epochs misc/cliprange misc/explained_variance
    loss/policy_loss loss/value_loss loss/policy_entropy loss/approxkl loss/clipfrac loss/grad_norm
    loss/kl loss/kl_coef loss/kl_moved loss/w2_squared_moved wng/wasserstein_estimate wng/cg_iterations
    wng/distance_asked wng/distance_reached wng/distance_mean wng/distance_covariance wng/backtracks wng/accepted
    wng/improvement wng/step_length wng/step_norm wng/radius_factor
    """.split()
)
EVOLUTION = frozenset(
    f"""{_BOTH}
    es/return_mean es/return_std es/return_max es/gradient_norm es/step_norm es/theta_norm es/direction_cosine es/moved
    es/distance_mean es/distance_std es/distance_return_correlation es/cpu_seconds wng/epsilon_absolute
    """.split()
)
