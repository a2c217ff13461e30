"""Saved policies act as the trained ones, evaluation counts what an episode gives, and films show it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import register, registry
from scipy import stats
from short_runs import contents

from wng_tf import evaluate, saved_policy
from wng_tf.envs import tasks, video
from wng_tf.errors import UserError
from wng_tf.evaluate import Returns
from wng_tf.training import checkpoint, streams

GRADIENTS = ["ppo on CartPole", "wnpg on CartPole", "ppo on Hopper", "bg_wnpg on pendulum"]
ALL = [*GRADIENTS, "wnes on Point"]


def observations(policy, count: int, seed: int = 0) -> np.ndarray:
    """Some observations, most of them like those of the environment and some far outside."""
    rng = np.random.default_rng(seed)
    size = policy.observation_space.shape[0]
    return (rng.normal(size=(count, size)) * rng.choice([0.1, 1.0, 100.0], size=(count, 1))).astype(np.float32)


def keras_policy(folder, policy):
    """The trained policy as training had it: Keras networks with the checkpoint's weights, and its normalizer."""
    from baselines_compat.policies import build_policy
    from baselines_compat.vec_env.normalizer import Normalizer, NormalizerSettings

    _, state = checkpoint.load(folder / "checkpoints")
    learner = state["learner"]
    network = build_policy(policy.observation_space, policy.action_space, "mlp", num_hidden=8)
    network.set_flat(learner["learner"]["theta"])
    normalizer = Normalizer(policy.observation_space.shape, NormalizerSettings())
    normalizer.restore(learner["env"]["normalizer"])
    return network, normalizer


# Saved policies.


@pytest.mark.parametrize("name", GRADIENTS)
def test_the_deterministic_action_is_the_mode_of_the_keras_policy(name, trained):
    policy = saved_policy.load(trained(name))
    network, normalizer = keras_policy(trained(name), policy)
    seen = observations(policy, 200)
    mode = network.pd(network.parameters, normalizer(seen)).mode().numpy()
    if isinstance(policy.action_space, spaces.Box):
        mode = np.clip(mode, policy.action_space.low, policy.action_space.high)
        np.testing.assert_allclose(policy.act(seen), mode, atol=1e-6)
    else:
        np.testing.assert_array_equal(policy.act(seen), mode)
    one_by_one = np.stack([policy.act(observation) for observation in seen])
    np.testing.assert_allclose(one_by_one, policy.act(seen), atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_actions_belong_to_the_action_space(name, trained):
    policy = saved_policy.load(trained(name))
    with contextlib.closing(tasks.make(saved_policy.flag(trained(name), "env"))) as world:
        assert policy.action_space == world.action_space and policy.observation_space == world.observation_space
    rng = np.random.default_rng(0)
    for observation in observations(policy, 50):
        for deterministic in (True, False):
            action = policy.act(observation, rng, deterministic)
            assert policy.action_space.contains(action), action


def test_sampled_gaussian_actions_have_the_policys_mean_and_deviation(trained):
    policy = saved_policy.load(trained("bg_wnpg on pendulum"))
    wide = np.full_like(policy.action_space.high, np.inf)
    policy = evaluate.dataclasses.replace(policy, action_space=spaces.Box(-wide, wide, dtype=np.float32))
    network, normalizer = keras_policy(trained("bg_wnpg on pendulum"), policy)
    seen = np.repeat(observations(policy, 1), 20_000, axis=0)
    pd = network.pd(network.parameters, normalizer(seen[:1]))
    drawn = policy.act(seen, np.random.default_rng(1), deterministic=False)
    centred = (drawn - pd.mean.numpy()) / pd.std.numpy()
    assert stats.kstest(centred[:, 0], "norm").pvalue > 1e-3


def test_sampled_discrete_actions_have_the_policys_frequencies(trained):
    policy = saved_policy.load(trained("ppo on CartPole"))
    network, normalizer = keras_policy(trained("ppo on CartPole"), policy)
    seen = np.repeat(observations(policy, 1), 20_000, axis=0)
    expected = np.exp(network.pd(network.parameters, normalizer(seen[:1])).distribution.logits_parameter().numpy()[0])
    drawn = policy.act(seen, np.random.default_rng(1), deterministic=False)
    assert stats.chisquare(np.bincount(drawn), expected / expected.sum() * drawn.size).pvalue > 1e-3


def test_draws_repeat_with_the_generator(trained):
    policy = saved_policy.load(trained("ppo on Hopper"))
    seen = observations(policy, 20)
    first, again, other = (policy.act(seen, np.random.default_rng(s), deterministic=False) for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    assert not np.allclose(policy.act(seen, deterministic=False), policy.act(seen, deterministic=False))


def test_checkpoints_by_name_and_step(trained):
    folder = trained("ppo on CartPole")
    steps = checkpoint.steps(folder / "checkpoints")
    latest, by_step, early, best = (saved_policy.load(folder, w).theta for w in ("latest", steps[-1], steps[0], "best"))
    np.testing.assert_array_equal(latest, by_step)
    assert not np.array_equal(latest, early)
    _, state = checkpoint.load(folder / "checkpoints", "best")
    np.testing.assert_array_equal(best, state["learner"]["learner"]["theta"])


def test_a_checkpoint_without_a_policy_is_refused(tmp_path):
    (tmp_path / "flags.txt").write_text("--alg=ppo\n--env=CartPole-v1\n")
    checkpoint.save(tmp_path / "checkpoints", 10, {"learner": {"steps": 10}})
    with pytest.raises(UserError, match="holds no policy .*train it again"):
        saved_policy.load(tmp_path)


# Statistics.


@pytest.mark.parametrize("n", [2, 5, 100])
def test_intervals_are_those_of_student(n):
    returns = np.random.default_rng(n).normal(100.0, 20.0, n)
    found = Returns.of(returns, [1] * n)
    assert found.mean == pytest.approx(returns.mean()) and found.sd == pytest.approx(np.std(returns, ddof=1))
    assert found.interval == pytest.approx(stats.t.interval(0.95, n - 1, returns.mean(), stats.sem(returns)))


def test_one_episode_has_no_interval():
    assert Returns.of([3.0], [7]) == Returns([3.0], [7], 3.0, None, None, 7.0)


# Evaluation.


@pytest.mark.parametrize("deterministic", [True, False])
def test_returns_are_those_of_a_plain_loop(deterministic, trained):
    policy = saved_policy.load(trained("ppo on Hopper"))
    with contextlib.closing(tasks.make("Hopper-v5")) as world:
        found = evaluate.play(policy, world, 3, 5, deterministic=deterministic)
    for episode in range(3):
        rng = streams.generator(5, streams.EVALUATION_ACTIONS, episode)
        with contextlib.closing(gymnasium.make("Hopper-v5")) as world:
            observation, _ = world.reset(seed=streams.EVALUATION_START.words(1, 5, episode)[0])
            rewards = []
            while True:
                action = policy.act(observation, rng, deterministic)
                observation, reward, terminated, truncated, _ = world.step(action)
                rewards.append(reward)
                if terminated or truncated:
                    break
        assert found.returns[episode] == sum(rewards) and found.lengths[episode] == len(rewards)


@pytest.mark.parametrize("name", ALL)
def test_evaluation_writes_its_file_and_nothing_else(name, call, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained(name), folder)
    before = contents(folder)
    outcome = call(evaluate.app, f"--run={folder}", "--episodes=4", "--seed=3")
    assert (outcome.code, outcome.stderr) == (0, "")
    result = json.loads((folder / "evaluation.json").read_text())
    assert result["seed"] == 3 and result["episodes"] == 4 and result["which"] == "latest"
    assert result["step"] == checkpoint.latest_step(folder / "checkpoints")
    for kind in ("deterministic", "stochastic"):
        part = result[kind]
        assert len(part["returns"]) == len(part["lengths"]) == 4
        low, high = part["interval"]
        assert low <= part["mean"] <= high and part["mean"] == pytest.approx(np.mean(part["returns"]))
        assert f"{kind:<13}  return {part['mean']:.2f}" in outcome.stdout
    after = contents(folder)
    assert after.pop("evaluation.json") and after == before
    assert evaluate.evaluate_run(folder, 4, 3) == {**result, **as_in_python(result)}


def as_in_python(result: dict) -> dict:
    """JSON has no tuples."""
    return {k: {**result[k], "interval": tuple(result[k]["interval"])} for k in ("deterministic", "stochastic")}


def test_another_seed_starts_elsewhere(trained):
    first, other = (evaluate.evaluate_run(trained("ppo on CartPole"), 5, seed) for seed in (0, 1))
    assert first["stochastic"]["returns"] != other["stochastic"]["returns"]


def test_evaluation_loads_no_tensorflow(trained):
    program = (
        "import sys; from wng_tf import evaluate\n"
        f"evaluate.evaluate_run({str(trained('ppo on CartPole'))!r}, 1)\n"
        "print(sorted({'tensorflow', 'keras', 'tensorflow_probability'} & set(sys.modules)))"
    )
    outcome = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert outcome.stdout == "[]\n"


def test_another_evaluation_is_kept(call, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)

    def evaluated(*flags: str) -> str:
        outcome = call(evaluate.app, f"--run={folder}", *flags)
        assert outcome.code == 0
        return outcome.stdout

    def kept() -> dict[str, str]:
        return {file.name: file.read_text() for file in folder.glob("evaluation*")}

    assert "Kept" not in evaluated("--episodes=2")
    first = kept()["evaluation.json"]
    step = json.loads(first)["step"]
    assert "Kept" not in evaluated("--episodes=2", f"--which={step}"), "the same one once more"
    evaluated("--episodes=2")
    assert kept() == {"evaluation.json": first}
    named = f"evaluation-step{step}-seed0-episodes2.json"
    assert f"Kept the evaluation that was there as {folder / named}\n" in evaluated("--episodes=1", "--seed=7")
    assert kept()[named] == first and json.loads(kept()["evaluation.json"])["seed"] == 7
    evaluated("--episodes=2", "--which=64")
    evaluated("--episodes=1", "--seed=7")
    second = evaluated("--episodes=2")
    assert f"as {folder / f'evaluation-step{step}-seed7-episodes1-2.json'}" in second, "no name is taken twice"
    (folder / "evaluation.json").write_text("my notes")
    assert f"as {folder / 'evaluation-earlier.json'}" in evaluated("--episodes=2")
    assert kept()["evaluation-earlier.json"] == "my notes"
    assert len(kept()) == 6


def test_evaluations_go_to_a_file_of_ones_own(call, trained, tmp_path):
    folder, out = trained("ppo on CartPole"), tmp_path / "new" / "result"
    before = contents(folder)
    flags = (f"--run={folder}", "--episodes=3", "--seed=3")
    outcome = call(evaluate.app, *flags, f"--output={out}.json")
    assert outcome.code == 0 and f"Wrote {out}.json" in outcome.stdout
    result = json.loads(Path(f"{out}.json").read_text())
    assert evaluate.evaluate_run(folder, 3, 3) == {**result, **as_in_python(result)}
    assert call(evaluate.app, *flags, f"--output={out}.csv").code == 0
    with open(f"{out}.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["policy"], row["episode"]) for row in rows] == [
        (policy, str(episode)) for policy in ("deterministic", "stochastic") for episode in range(3)
    ]
    for row in rows:
        part, episode = result[row["policy"]], int(row["episode"])
        assert float(row["return"]) == part["returns"][episode] and int(row["length"]) == part["lengths"][episode]
        assert (row["env"], row["alg"], int(row["step"]), int(row["seed"])) == ("CartPole-v1", "ppo", result["step"], 3)
    assert contents(folder) == before


@pytest.mark.parametrize("suffix", ["json", "csv"])
def test_a_file_that_is_there_is_not_overwritten_unasked(suffix, call, trained, tmp_path):
    file = tmp_path / f"result.{suffix}"
    file.write_text("my notes")
    flags = (f"--run={trained('ppo on CartPole')}", "--episodes=1", f"--output={file}")
    outcome = call(evaluate.app, *flags)
    assert outcome.code == 2 and "--overwrite" in outcome.stderr and file.read_text() == "my notes"
    assert call(evaluate.app, *flags, "--overwrite").code == 0
    assert "CartPole-v1" in file.read_text()


@pytest.mark.parametrize(("name", "sentence"), [("result.txt", ".json or a .csv"), ("folder.csv", "is a folder")])
def test_a_name_that_is_no_file_is_refused_before_anything_is_played(name, sentence, call, trained, tmp_path):
    (tmp_path / "folder.csv").mkdir()
    outcome = call(evaluate.app, f"--run={trained('ppo on CartPole')}", f"--output={tmp_path / name}")
    assert outcome.code == 2 and sentence in outcome.stderr


# Films.


class Striped(gymnasium.Env):
    """Ten steps; frame t is 20 t bright, t counting from the reset."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 50}

    def __init__(self, render_mode: str | None = None):
        self.render_mode = render_mode
        self.observation_space = spaces.Box(-1.0, 1.0, (4,), np.float32)
        self.action_space = spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t = 0
        return np.zeros(4, np.float32), {}

    def step(self, action):
        self.t += 1
        return np.zeros(4, np.float32), 1.0, False, self.t == 10, {}

    def render(self):
        return np.full((32, 48, 3), 20 * self.t, np.uint8)


@pytest.fixture
def striped() -> Iterator[str]:
    register("Striped-v0", entry_point=Striped)
    yield "Striped-v0"
    del registry["Striped-v0"]


@pytest.mark.parametrize(("suffix", "fps", "stride"), [(".gif", 25.0, 2), (".mp4", 50.0, 1)])
def test_a_film_has_every_frame_in_real_time(suffix, fps, stride, striped, trained, tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    path = tmp_path / f"film{suffix}"
    with video.filming(path, striped) as world:
        evaluate.play(saved_policy.load(trained("ppo on CartPole")), world, 2, 0, deterministic=True)
        assert not path.exists(), "a film that is not complete must not look like one"
    assert list(tmp_path.iterdir()) == [path]
    frames, about = imageio.imread(path), imageio.immeta(path)
    assert frames.shape[1:] == (32, 48, 3)
    assert (1000 / about["duration"] if suffix == ".gif" else about["fps"]) == fps
    expected = [20 * t for _ in range(2) for t in range(11)][::stride]
    np.testing.assert_allclose(frames.mean(axis=(1, 2, 3)), expected, atol=3)


def test_a_film_that_breaks_off_is_not_there(striped, tmp_path):
    pytest.importorskip("imageio")
    with pytest.raises(RuntimeError, match="stop"), video.filming(tmp_path / "film.gif", striped) as world:
        world.reset()
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("missing", ["a render mode", "a picture"])
def test_what_cannot_be_drawn(missing, striped, tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    if missing == "a picture":
        monkeypatch.setattr(Striped, "render", lambda self: None)
    else:
        monkeypatch.setattr(Striped, "render", lambda self: 1 / 0)
    with pytest.raises(UserError, match="cannot be drawn"), video.filming(tmp_path / "film.gif", striped) as world:
        world.reset()
    assert list(tmp_path.iterdir()) == []


def cannot_be_drawn(env: str, tmp_path: Path) -> str:
    with pytest.raises(UserError) as told, video.filming(tmp_path / "film.gif", env) as world:
        world.reset()
    assert list(tmp_path.iterdir()) == []
    assert "OpenGL" not in str(told.value) and "EGL" not in str(told.value), "it has nothing to do with it"
    return str(told.value)


def test_an_environment_without_render(striped, tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    monkeypatch.delattr(Striped, "render")
    assert cannot_be_drawn(striped, tmp_path) == "Striped-v0 cannot be drawn: it has no render()."


def test_an_environment_whose_constructor_takes_no_render_mode(striped, tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    original = Striped.__init__
    monkeypatch.setattr(Striped, "__init__", lambda self: original(self))
    assert "render_mode" in cannot_be_drawn(striped, tmp_path)


def test_an_error_in_render_is_its_own(striped, tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    monkeypatch.setattr(Striped, "render", lambda self: 1 / 0)
    assert "ZeroDivisionError" in cannot_be_drawn(striped, tmp_path)


@pytest.mark.parametrize(
    ("frame", "what"), [("+---+", "a str"), (np.zeros((4, 5)), "an array of shape (4, 5)"), ([], "an array of shape (0,)")]
)
def test_what_is_no_picture_is_named(frame, what, striped, tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    monkeypatch.setattr(Striped, "render", lambda self: frame)
    expected = f"Striped-v0 cannot be drawn: its render() gave {what}, not a picture of shape (height, width, 3)."
    assert cannot_be_drawn(striped, tmp_path) == expected


def test_the_command_films(striped, call, trained, tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    (folder / "flags.txt").write_text((folder / "flags.txt").read_text().replace("CartPole-v1", striped))
    outcome = call(evaluate.app, f"--run={folder}", "--episodes=1", f"--video={tmp_path / 'film.gif'}")
    assert outcome.code == 0 and f"Wrote {tmp_path / 'film.gif'}" in outcome.stdout
    assert imageio.imread(tmp_path / "film.gif").shape[0] == 6


def test_pybullet_draws_without_a_screen(tmp_path, monkeypatch):
    imageio = pytest.importorskip("imageio.v3")
    monkeypatch.delenv("DISPLAY", raising=False)
    with video.filming(tmp_path / "film.gif", "Hopper") as world:
        world.reset(seed=0)
        for _ in range(3):
            world.step(world.action_space.sample())
    first = imageio.imread(tmp_path / "film.gif")[0]
    assert first.shape == (480, 640, 3) and first.std() > 10, "a picture, not a plain colour"


def test_mujoco_without_opengl_says_what_to_do(tmp_path, monkeypatch):
    pytest.importorskip("imageio")
    monkeypatch.delenv("MUJOCO_GL", raising=False)
    monkeypatch.setattr(video, "_TRY_OPENGL", "raise SystemExit(1)")
    with pytest.raises(UserError, match="MUJOCO_GL=egl.*MUJOCO_GL=osmesa"):
        video.filming(tmp_path / "film.gif", "Hopper-v5").__enter__()


@pytest.mark.slow
def test_mujoco_draws_without_a_screen(tmp_path):
    """In a process of its own: MuJoCo takes one way of drawing a process, and another test may have chosen it."""
    imageio = pytest.importorskip("imageio.v3")
    film = tmp_path / "film.gif"
    code = (
        f"from wng_tf.envs import video\nwith video.filming({str(film)!r}, 'Hopper-v5') as world:\n    world.reset(seed=0)\n"
    )
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MUJOCO_GL")}
    ran = subprocess.run([sys.executable, "-c", code], env=hidden, capture_output=True, text=True, timeout=300)
    if "UserError" in ran.stderr:
        pytest.skip(ran.stderr.splitlines()[-1])
    assert ran.returncode == 0, ran.stderr
    first = imageio.imread(film)[0]
    assert first.shape == (480, 640, 3) and first.std() > 10


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"episodes": 2.5}, "--episodes must be a whole number, not 2.5"),
        ({"episodes": "3"}, "--episodes must be a whole number, not '3'"),
        ({"seed": 0.5}, "--seed must be a whole number, not 0.5"),
        ({"max_episode_steps": 1.5}, "--max_episode_steps must be a whole number, not 1.5"),
        ({"env_timeout": "x"}, "--env_timeout must be a number of seconds, not 'x'"),
        ({"env_timeout": None}, "--env_timeout must be a number of seconds, not None"),
    ],
)
def test_a_fraction_where_a_whole_number_is_meant(given, sentence):
    with pytest.raises(UserError, match=sentence):
        evaluate.evaluate_run("nowhere", **given)
