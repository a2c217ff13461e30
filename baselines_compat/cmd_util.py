"""Where Baselines keeps `make_vec_env`."""

from baselines_compat.vec_env.make import make_vec_env

__all__ = ["make_vec_env"]
