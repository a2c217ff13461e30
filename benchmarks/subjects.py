"""What is timed: our learner's parts, the environment alone, the physics alone, and peers."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from baselines_compat.runner import Runner
from wng_tf import algorithms, embeddings
from wng_tf.envs import tasks
from wng_tf.policy_gradient import config as configs
from wng_tf.policy_gradient.learn import make_normalized, make_policy
from wng_tf.policy_gradient.learner import Learner


def parse(contender: str) -> tuple[str, dict[str, Any]]:
    """Algorithm and settings of `alg:name=value:name=value`."""
    alg, *given = contender.split(":")
    return alg, {name: _value(text) for name, text in (setting.split("=", 1) for setting in given)}


def _value(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return text


@dataclasses.dataclass
class Trainer:
    """One algorithm on one environment, ready to be timed part by part."""

    venv: Any
    learner: Any
    runner: Runner
    config: configs.PolicyGradientConfig
    number: int = 0
    arrays: Any = None
    batch: Any = None

    @classmethod
    def of(cls, contender: str, env: str) -> Trainer:
        """Of `alg:name=value:name=value`."""
        alg, given = parse(contender)
        return cls.make(alg, env, **given)

    @classmethod
    def make(cls, alg: str, env: str, **given: Any) -> Trainer:
        algorithm = algorithms.find(alg)
        config = configs.resolve(algorithm, tasks.resolve(env).kind, given)
        venv = make_normalized(env, config, 0)
        policy = make_policy(venv, "mlp", config, 0)
        embedding = embeddings.find(config.embedding)
        learner = Learner(policy=policy, config=config, embedding=embedding, seed=0)
        runner = Runner(env=venv, model=policy, nsteps=config.nsteps, gamma=config.gamma, lam=config.lam)
        return cls(venv, learner, runner, config)

    def sample(self) -> None:
        """Environment steps and actions only."""
        self.arrays, _ = self.venv.collect(self.runner.spec, self.learner.theta.numpy(), self.config.nsteps)

    def judge(self) -> None:
        """Values, log-probabilities and advantages of the steps."""
        self.batch = self.runner.judge(self.learner.theta.numpy(), self.arrays)

    def run(self) -> None:
        """A batch: steps, and what is made of them."""
        self.sample()
        self.judge()

    def update(self) -> None:
        """All epochs and minibatches of the last batch."""
        self.number += 1
        self.learner.update(self.batch, self.number, 1e-5)

    def step(self) -> None:
        """One whole update, as `learn` does it."""
        self.run()
        self.update()

    def close(self) -> None:
        self.venv.close()


def packaged(env: str) -> gymnasium.Env:
    """The environment as Gymnasium makes it; ours where there is no other of that name."""
    return tasks.make(env) if env in tasks.SHORT_NAMES else gymnasium.make(env, disable_env_checker=True)


def random_steps(made: gymnasium.Env, steps: int) -> Callable[[], None]:
    """`steps` of env.step with random actions drawn beforehand, resets included."""
    made.action_space.seed(0)
    made.reset(seed=0)
    actions = [made.action_space.sample() for _ in range(steps)]

    def run() -> None:
        for action in actions:
            _, _, terminated, truncated, _ = made.step(action)
            if terminated or truncated:
                made.reset()

    return run


def raw_physics(env: str, steps: int) -> Callable[[], None] | None:
    """As many physics steps as `steps` of the environment take, without Gymnasium; None if the engine is not MuJoCo."""
    import mujoco

    base = tasks.make(env).unwrapped
    if not hasattr(base, "model") or not hasattr(base, "frame_skip"):
        return None
    base.reset(seed=0)
    model, data, frames = base.model, base.data, base.frame_skip
    controls = np.random.default_rng(0).uniform(-1, 1, (steps, model.nu))

    def run() -> None:
        mujoco.mj_resetData(model, data)
        for control in controls:
            data.ctrl[:] = control
            mujoco.mj_step(model, data, nstep=frames)

    return run


def stable_baselines3(name: str, env: str, steps: int) -> Callable[[], None]:
    """`steps` of Stable-Baselines3's PPO or of sb3-contrib's TRPO at Baselines' settings, one world, one thread."""
    import torch
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    torch.set_num_threads(1)
    venv = VecNormalize(DummyVecEnv([lambda: packaged(env)]))
    if name == "sb3 ppo":
        from stable_baselines3 import PPO

        model = PPO("MlpPolicy", venv, n_steps=2048, batch_size=64, n_epochs=10, device="cpu", seed=0)
    else:
        from sb3_contrib import TRPO

        model = TRPO("MlpPolicy", venv, n_steps=2048, batch_size=64, device="cpu", seed=0)
    return lambda: model.learn(steps, reset_num_timesteps=False)
