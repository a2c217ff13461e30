"""The policy at the end of a run, and the batch that its next update would have used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from wng_tf.errors import UserError

if TYPE_CHECKING:
    import numpy as np

    from baselines_compat.policies import PolicyWithValue
    from baselines_compat.runner import Batch
    from wng_tf.plots.runs import LoadedRun
    from wng_tf.policy_gradient.config import PolicyGradientConfig


class FinalBatch(NamedTuple):
    """`theta` [P] are the policy's parameters (its variables hold the untrained ones)."""

    policy: PolicyWithValue
    theta: np.ndarray
    batch: Batch
    config: PolicyGradientConfig


def final_batch(run: LoadedRun, *, nsteps: int | None = None, which: str | int = "latest", trust: bool = False) -> FinalBatch:
    """From a run's checkpoint.

    Args:
      run: of a policy gradient.
      nsteps: length of the batch per environment; None: the run's.
      which: checkpoint, `latest` or the one of a given step.
      trust: also if the run's environment is of a module that is not an installed package's, which is run then.

    Raises:
      UserError: not a policy-gradient run, or one without a checkpoint; or one that is not trusted.
    """
    from baselines_compat.runner import Runner
    from wng_tf import algorithms, parts
    from wng_tf.envs import sources, tasks
    from wng_tf.policy_gradient import config as settings
    from wng_tf.policy_gradient.learn import make_normalized, make_policy
    from wng_tf.runtime import trust as judge
    from wng_tf.sweeps.check import typed
    from wng_tf.training import checkpoint, run_folder

    if run.is_evolution:
        raise UserError(f"{run.folder} is a run of an evolution strategy: name one of a policy gradient.")
    if not trust:
        source = f"The run in '{run.folder}'"
        for name in (run.env, *sources.wrapper_names(run.settings.get("env_wrapper"))):
            judge.check(name, source)
        for flag, registry in parts.BY_FLAG.items():
            if flag in run.settings:
                judge.check_part(run.settings[flag], source, registry)
    given = dict(run.settings)
    network = given.pop("network", "mlp")
    given.pop("load_path", None)
    kind = tasks.resolve(run.env).kind
    algorithm = algorithms.find(run.alg)
    assert isinstance(algorithm, algorithms.PolicyGradientAlgorithm)  # `run` is one's
    config = settings.resolve(algorithm, kind, typed(settings.PolicyGradientConfig, given))
    _, state = checkpoint.load(run.folder / run_folder.CHECKPOINTS, which)
    saved = state["learner"]
    theta = saved["learner"]["theta"]
    task = sources.with_options(tasks.resolve(run.env), config.env_kwargs, config.env_wrapper)
    with make_normalized(task, config, run.seed) as venv:
        policy = make_policy(venv, network, config, run.seed)
        venv.set_state(saved["env"])
        runner = Runner(env=venv, model=policy, nsteps=nsteps or config.nsteps, gamma=config.gamma, lam=config.lam)
        batch, _ = runner.run(theta)
    return FinalBatch(policy, theta, batch, config)
