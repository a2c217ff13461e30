"""Names after `--env`: what they become, and what is said when they become nothing."""

from __future__ import annotations

import pickle
import subprocess
import sys
import types
from importlib.util import find_spec

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker, TimeLimit

from wng_tf.envs import register_environments, tasks
from wng_tf.errors import UserError

PACKAGED = pytest.mark.skipif(not find_spec("pybullet_envs_gymnasium"), reason="not installed, as from Python 3.12 on")


class Toy(gym.Env):
    """Any spaces; observations are samples of the space."""

    def __init__(self, observation_space, action_space=None, render_mode=None):
        self.observation_space = observation_space
        self.action_space = action_space or spaces.Box(-1, 1, (1,), np.float32)
        self.closed = False

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action):
        return self.observation_space.sample(), 0.0, False, False, {}


@pytest.fixture
def toy():
    """Registers toy environments for one test: `toy(**kwargs)` gives an id."""
    ids = []

    def _toy(**kwargs):
        ids.append(f"Toy{len(ids)}-v0")
        gym.register(ids[-1], entry_point=Toy, kwargs=kwargs)
        return ids[-1]

    yield _toy
    for env_id in ids:
        del gym.registry[env_id]


@pytest.mark.parametrize(
    ("name", "env_id", "kind", "sizes"),
    [
        ("Hopper", "wng_tf/HopperBullet-v0", "pybullet", (15, 3)),
        ("Walker2d", "wng_tf/Walker2dBullet-v0", "pybullet", (22, 6)),
        ("HalfCheetah", "wng_tf/HalfCheetahBullet-v0", "pybullet", (26, 6)),
        ("Ant", "wng_tf/AntBullet-v0", "pybullet", (28, 8)),
        ("Humanoid", "wng_tf/HumanoidBullet-v0", "pybullet", (44, 17)),
        ("Reacher", "wng_tf/ReacherBullet-v0", "pybullet", (9, 2)),
        ("DoublePendulum", "wng_tf/InvertedDoublePendulumBullet-v0", "pybullet", (9, 1)),
        ("Point", "wng_tf/Point-v0", "mujoco", (6, 2)),
        ("Quadruped", "wng_tf/Quadruped-v0", "mujoco", (113, 8)),
        ("Hopper-v5", "Hopper-v5", "mujoco", (11, 3)),
        ("wng_tf/Point-v0", "wng_tf/Point-v0", "mujoco", (6, 2)),
        pytest.param("HopperBulletEnv-v0", "HopperBulletEnv-v0", "pybullet", (15, 3), marks=PACKAGED),
        pytest.param(*("pybullet_envs_gymnasium:AntBulletEnv-v0",) * 2, "pybullet", (28, 8), marks=PACKAGED),
        ("Pendulum-v1", "Pendulum-v1", "classic", (3, 1)),
    ],
)
def test_names_become_environments(name, env_id, kind, sizes):
    task = tasks.resolve(name)
    assert (task.name, task.env_id, task.kind, task.kwargs) == (name, env_id, kind, {})
    env = tasks.make(name)
    assert (env.observation_space.shape, env.action_space.shape) == ((sizes[0],), (sizes[1],))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    observation, reward, *_ = env.step(env.action_space.sample())
    assert env.observation_space.contains(observation)
    assert np.isfinite(reward)
    env.close()


def test_all_short_names_are_told_apart():
    assert len({tasks.resolve(name).env_id for name in tasks.SHORT_NAMES}) == len(tasks.SHORT_NAMES) == 9


def test_discrete_actions_are_fine():
    env = tasks.make("CartPole-v1")
    assert tasks.resolve("CartPole-v1").kind == "classic"
    assert env.action_space == spaces.Discrete(2)
    env.close()


def test_registering_again_changes_nothing(recwarn):
    before = dict(gym.registry)
    register_environments()
    assert gym.registry == before
    assert not recwarn.list


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("hopper", "Hopper "),
        ("Hoper", "Hopper "),
        ("Hopper-v9", "Hopper-v5 "),
        ("halfcheetah-v5", "HalfCheetah-v5 "),
        ("CartPole", "CartPole-v1 "),
        pytest.param("InvertedPendulumBulletEnv-v7", "InvertedPendulumBulletEnv-v0 ", marks=PACKAGED),
        ("quadrupedal", "Quadruped"),
    ],
)
def test_unknown_names_are_met_with_close_ones(name, first):
    with pytest.raises(UserError) as told:
        tasks.resolve(name)
    message = str(told.value)
    assert message.startswith(f"There is no environment {name!r}. Did you mean {first}")
    # Ids that only say that an environment has moved are no help.
    assert "-v3" not in message


@pytest.mark.parametrize("name", ["", "Zzz", ":", ":Zzz"])
def test_names_like_no_other_are_met_with_the_short_names(name):
    with pytest.raises(UserError, match="Short names are Hopper, .*Quadruped"):
        tasks.make(name)


def test_an_id_of_another_module(monkeypatch):
    """`module:Id-v0` imports the module, which registers; the kind comes from the class it derives from."""
    module = types.ModuleType("toy_module")
    monkeypatch.setitem(sys.modules, "toy_module", module)

    def load():
        from gymnasium.envs.mujoco.hopper_v5 import HopperEnv

        class Lighter(HopperEnv):
            pass

        module.Lighter, module.Toy = Lighter, Toy
        gym.register("toys/Lighter-v0", entry_point="toy_module:Lighter", max_episode_steps=7)
        gym.register("toys/Toy-v0", entry_point="toy_module:Toy", kwargs={"observation_space": spaces.Box(0, 1, (2,))})

    load()
    try:
        assert tasks.resolve("toy_module:toys/Lighter-v0").kind == "mujoco"
        assert tasks.resolve("toy_module:toys/Toy-v0").kind == "other"
        env = tasks.make("toy_module:toys/Lighter-v0")
        assert env.spec.max_episode_steps == 7
        env.close()
        with pytest.raises(UserError, match="Did you mean toys/Lighter-v0"):
            tasks.make("toy_module:toys/Lightr-v0")
    finally:
        del gym.registry["toys/Lighter-v0"], gym.registry["toys/Toy-v0"]


@pytest.mark.parametrize("name", ["Hopper-v2", "Hopper-v3", "gymnasium:Hopper-v2"])
def test_old_versions_that_gymnasium_no_longer_has_name_the_new_one(name):
    with pytest.raises(UserError) as told:
        tasks.check(tasks.resolve(name))
    assert str(told.value).startswith(f"{name} cannot be made: ") and "have been moved" in str(told.value)
    assert "Did you mean Hopper-v5 or Hopper-v4" in str(told.value) and "install" not in str(told.value)


@pytest.mark.parametrize("name", ["Hopper", "Hopper-v4", "Point", "CartPole-v1"])
def test_what_there_is_passes_the_early_check(name):
    tasks.check(tasks.resolve(name))


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("numpy:Missing-v0", "the module 'numpy' registers no 'Missing-v0'. It can be imported, but has no environments."),
        ("gymnasium:Hoper-v5", "the module 'gymnasium' registers no 'Hoper-v5'. Did you mean Hopper-v5 "),
        pytest.param(
            "pybullet_envs_gymnasium:Zzz-v0", "registers no 'Zzz-v0'. It has InvertedPendulumBulletEnv-v0, ", marks=PACKAGED
        ),
    ],
)
def test_an_id_that_its_module_does_not_register(name, sentence):
    with pytest.raises(UserError) as told:
        tasks.resolve(name)
    assert str(told.value).startswith(f"There is no environment {name!r}: ") and sentence in str(told.value)
    assert "write module:Id" not in str(told.value), "that is what was written"


def test_an_environment_made_by_a_function_of_ones_own_is_no_old_version():
    gym.register("toys/Function-v0", entry_point=lambda: Toy(spaces.Box(0, 1, (2,))))
    try:
        tasks.make("toys/Function-v0").close()
    finally:
        del gym.registry["toys/Function-v0"]


def test_a_module_that_cannot_be_imported():
    with pytest.raises(UserError, match="module 'no_such_module' cannot be imported.*Install it, or correct its name"):
        tasks.make("no_such_module:Hopper-v0")


def test_gone_environments_say_where_they_went():
    with pytest.warns(DeprecationWarning), pytest.raises(UserError, match="^Hopper-v3 cannot be made: .*robotics"):
        tasks.make("Hopper-v3")


def test_arguments_reach_the_environment_or_are_refused_by_name():
    env = tasks.make("Hopper-v5", max_episode_steps=3, frame_skip=2)
    assert env.unwrapped.frame_skip == 2
    assert env.spec.max_episode_steps == 3
    env.close()
    with pytest.raises(UserError, match="CartPole-v1 cannot be made with {'colour': 'red'}.*colour"):
        tasks.make("CartPole-v1", colour="red")


def test_observations_are_flattened(toy):
    vectors = spaces.Dict(b=spaces.Box(0, 1, (2, 2), np.float32), a=spaces.Box(-1, 1, (3,), np.float32))
    env = tasks.make(toy(observation_space=vectors))
    assert env.observation_space.shape == (7,)
    observation, _ = env.reset(seed=0)
    parts = env.unwrapped.observation_space
    parts.seed(0)
    expected = parts.sample()
    np.testing.assert_array_equal(observation, np.concatenate([expected[key].ravel() for key in parts]))
    assert tasks.make(toy(observation_space=spaces.Discrete(4))).observation_space.shape == (4,)
    assert tasks.make(toy(observation_space=spaces.Box(0, 1, (2, 3)))).observation_space.shape == (6,)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Text(5),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Dict(words=spaces.Text(5)),
        spaces.Graph(spaces.Discrete(2), None),
        spaces.Discrete(10**9),
        spaces.Tuple([spaces.Discrete(2), spaces.Text(5)]),
    ],
)
def test_observations_that_are_no_vectors_are_refused(space, toy):
    env_id = toy(observation_space=space)
    with pytest.raises(UserError, match=f"^{env_id} has the observation space .* register the wrapped one"):
        tasks.make(env_id)


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (0,)),
        spaces.Box(-1, 1, (2, 0)),
        spaces.Dict(a=spaces.Discrete(2)),
        spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (1,))]),
        spaces.Text(5),
        spaces.Sequence(spaces.Discrete(2)),
        spaces.Graph(spaces.Discrete(2), None),
    ],
)
def test_actions_of_other_forms_are_refused(space, toy):
    env_id = toy(observation_space=spaces.Box(0, 1, (2,)), action_space=space)
    with pytest.raises(UserError, match=f"^{env_id} has the action space .* register the wrapped one"):
        tasks.make(env_id)


@pytest.mark.parametrize("space", [spaces.Box(0, 1, (0,)), spaces.Box(0, 1, (2, 0)), spaces.Dict()])
def test_observations_of_no_numbers_are_refused(space, toy):
    env_id = toy(observation_space=space, action_space=spaces.Discrete(2))
    with pytest.raises(UserError, match=f"^{env_id} has the observation space .* register the wrapped one"):
        tasks.make(env_id)


@pytest.mark.parametrize("name", ["Hopper-v5", "Hopper", "Point"])
def test_without_the_passive_checker_the_numbers_are_the_same(name):
    env, checked = tasks.make(name), tasks.make(name, disable_env_checker=False)
    assert [type(layer) for layer in layers(env)] == [TimeLimit, OrderEnforcing]
    assert PassiveEnvChecker in [type(layer) for layer in layers(checked)]
    one, other = env.reset(seed=1)[0], checked.reset(seed=1)[0]
    np.testing.assert_array_equal(one, other)
    rng = np.random.default_rng(0)
    for _ in range(40):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        one, other = env.step(action), checked.step(action)
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:4] == other[1:4]
        if one[2] or one[3]:
            np.testing.assert_array_equal(env.reset(seed=2)[0], checked.reset(seed=2)[0])
    env.close()
    checked.close()


def layers(env):
    while isinstance(env, gym.Wrapper):
        yield env
        env = env.env


def test_tasks_can_be_sent_to_workers():
    task = tasks.resolve("Hopper")
    assert pickle.loads(pickle.dumps(task)) == task


def in_a_fresh_process(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_resolving_imports_no_engine_and_no_tensorflow():
    printed = in_a_fresh_process(
        "import sys\nfrom wng_tf.envs import tasks\n"
        "for name in [*tasks.SHORT_NAMES, 'Hopper-v5']: tasks.resolve(name)\n"
        "heavy = ('mujoco', 'pybullet', 'pybullet_envs_gymnasium', 'tensorflow', 'keras')\n"
        "print([module for module in heavy if module in sys.modules])"
    )
    assert printed.strip() == "[]"


@pytest.mark.parametrize(
    ("missing", "name", "advice"),
    [
        ("pybullet", "Hopper", "pip install pybullet"),
        ("pybullet", "Reacher", "pip install pybullet-arm64"),
        ("pybullet", "DoublePendulum", "--env=Hopper-v5"),
        ("pybullet_envs_gymnasium", "HopperBulletEnv-v0", "pip install pybullet"),
        ("pybullet_envs_gymnasium", "AntBulletEnv-v0", "--no-deps"),
        ("pybullet_envs_gymnasium", "AntBulletEnv-v0", "without it: Hopper, Walker2d, "),
        ("mujoco", "Hopper-v5", "pip install"),
        ("mujoco", "Point", "pip install"),
    ],
)
def test_a_missing_engine_is_named_with_what_to_install(missing, name, advice):
    printed = in_a_fresh_process(
        f"import sys; sys.modules[{missing!r}] = None\n"
        "from wng_tf.envs import tasks\nfrom wng_tf.errors import UserError\n"
        f"try: tasks.make({name!r})\n"
        "except UserError as error: print(error)"
    )
    assert missing in printed.lower()
    assert advice in printed
    assert printed.count("\n") == 1
