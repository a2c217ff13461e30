"""Where Baselines keeps policies."""

from baselines_compat.policies import PolicyWithValue, build_policy

__all__ = ["PolicyWithValue", "build_policy"]
