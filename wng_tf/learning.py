"""`wng_tf.learn`: one door to both families of algorithms."""

from __future__ import annotations

from typing import Any

from wng_tf import algorithms, families
from wng_tf.policies.acting import SavedPolicy


def learn(*, alg: str = "bg_wnpg", env: Any, total_timesteps: float, **settings: Any) -> SavedPolicy:
    """Train a policy with any algorithm. Imports TensorFlow.

    Args:
      alg: an algorithm of either table, see `wng_tf.algorithms`.
      env: the environment: a short name, a Gymnasium id or `module:name`; an object, or a function that makes one; see
        `wng_tf.envs.sources`.
      total_timesteps: environment steps, over all environments.
      **settings: the other arguments of the family's own `learn` (`network`, `seed`, `log_path`, `resume`, `callback`, ...),
        `wng_tf.policy_gradient.learn.learn` or `wng_tf.evolution.learn.learn`, and the settings of the algorithm, which are
        the flags of `python -m wng_tf.run`: `lr=1e-3`, `num_env=4`.

    Returns:
      the trained policy, which acts on the environment's own observations.

    Raises:
      UserError: bad input, such as a setting that there is none of, or that has no effect with this algorithm.
      NonFiniteError: an observation, reward, value or gradient became NaN or infinite.
      EnvironmentFailure, WorkerError: an environment raised or hung, a process that steps environments died.
      Interrupted: the user asked to stop; the run is saved.
    """
    algorithm = algorithms.find(alg)
    family = families.of(algorithm)
    for name in settings:
        families.check_setting(family, algorithm.name, name)
    policy = family.learn(alg=algorithm.name, env=env, total_timesteps=total_timesteps, refuse_unused=True, **settings)
    assert isinstance(policy, SavedPolicy)
    return policy
