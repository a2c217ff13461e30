"""Settings that both families have: of workers, of the environment, and of evaluations during training."""

from __future__ import annotations

import dataclasses

from wng_tf.envs.sources import canonical_keywords, canonical_wrappers
from wng_tf.training.settings import Where, setting

ENVIRONMENT = "the environment"
EVALUATION = "evaluation during training"
_EVALUATED = {"eval_interval": Where("--eval_interval above 0", lambda interval: interval > 0)}


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """What the configurations of both families begin with."""

    engine: str = setting(
        "local",
        "where workers are: local, processes of this machine; ray, actors of a cluster; the result is the same",
        choices=("local", "ray"),
        role="operational",
    )
    ray_address: str | None = setting(
        None,
        "Ray cluster: auto or host:6379; without one, a cluster of this machine alone",
        when={"engine": "ray"},
        role="operational",
    )
    env_timeout: float = setting(
        0.0, "give up an environment that does not come back for so many seconds; 0: never", low=0.0, role="operational"
    )
    env_kwargs: str | None = setting(
        None,
        'arguments of the environment\'s constructor, and of gymnasium.make, in JSON: {"forward_reward_weight": 2}',
        group=ENVIRONMENT,
        convert=canonical_keywords,
    )
    env_wrapper: str | None = setting(
        None,
        "wrapper of the environment, package.module:Class; may be repeated, the first is the innermost",
        group=ENVIRONMENT,
        convert=canonical_wrappers,
        repeatable=True,
    )
    eval_interval: int = setting(
        0,
        "environment steps between evaluations of the deterministic policy in an environment of their own; 0: none. "
        "The best checkpoint is then the best evaluated one",
        group=EVALUATION,
        low=0,
        role="operational",
    )
    eval_episodes: int = setting(
        10, "episodes of an evaluation", group=EVALUATION, low=1, when=_EVALUATED, role="operational"
    )
    eval_env: str | None = setting(
        None,
        "environment of the evaluations, taken as it is: without env_kwargs and env_wrapper; default: that of training",
        group=EVALUATION,
        when=_EVALUATED,
        role="operational",
    )
    stop_return: float | None = setting(
        None,
        "stop when the mean return of an evaluation, or without evaluations that of the last hundred episodes (evolution "
        "strategies: of the unperturbed policy), is at least this",
        group=EVALUATION,
        role="operational",
    )
