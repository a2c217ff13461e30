"""`make_vec_env` by a short path."""

from baselines_compat.common.cmd_util import make_vec_env

__all__ = ["make_vec_env"]
