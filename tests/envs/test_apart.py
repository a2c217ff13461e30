"""Films that are made in a process of their own, without TensorFlow: what acts through TensorFlow is filmed so."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from short_runs import uncompiled

from baselines_compat.vec_env import EnvironmentFailure, WorkerError, faults
from wng_tf.envs import traits, video
from wng_tf.errors import UserError
from wng_tf.policy_gradient.learn import learn

iio = pytest.importorskip("imageio.v3")


def film(path: Path, env: str, own_process: bool, steps: int = 10) -> list[np.ndarray]:
    """Films a few steps; returns the observations."""
    rng, seen = np.random.default_rng(0), []
    with video.filming(path, env, own_process=own_process) as world:
        seen.append(world.reset(seed=5)[0])
        for _ in range(steps):
            observation, _, terminated, truncated, _ = world.step(rng.uniform(-1, 1, world.action_space.shape))
            seen.append(observation)
            if terminated or truncated:
                break
    return seen


@pytest.mark.parametrize("env", ["film_envs:Grey", "Hopper"])
def test_the_film_and_the_episode_are_the_same(env, tmp_path):
    here, there = (film(tmp_path / f"{own}.gif", env, own) for own in (False, True))
    assert len(here) == len(there) > 3
    np.testing.assert_array_equal([one[:2] for one in here], [one[:2] for one in there])
    np.testing.assert_array_equal(iio.imread(tmp_path / "False.gif"), iio.imread(tmp_path / "True.gif"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["False.gif", "True.gif"]


@pytest.mark.parametrize("own_process", [False, True])
def test_a_film_goes_where_it_is_named_though_the_environment_leaves_the_folder(own_process, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    film(Path("film.gif"), "film_envs:Moving", own_process)
    assert [path.name for path in tmp_path.iterdir()] == ["film.gif"]


def test_what_play_asks_of_the_environment_is_there(tmp_path):
    with video.filming(tmp_path / "film.gif", "Point", own_process=True) as world:
        assert traits.limit_of(world) == gymnasium.spec("wng_tf/Point-v0").max_episode_steps
        assert faults.name_of(world) == "wng_tf/Point-v0" and world.observation_space.shape is not None
        world.reset(seed=0)


@pytest.mark.parametrize(
    ("env", "error", "message"),
    [
        ("film_envs:Dying", WorkerError, "The process that draws film_envs:Dying ended unexpectedly .*SIGSEGV"),
        ("film_envs:Broken", UserError, "film_envs:Broken cannot be drawn: ZeroDivisionError: no light"),
        ("film_envs:Failing", EnvironmentFailure, "film_envs:Failing failed in step: RuntimeError: a wheel fell off"),
        ("film_envs:Nothing", UserError, "Nothing"),
    ],
)
def test_what_goes_wrong_there_is_said_here_and_there_is_no_film(env, error, message, tmp_path):
    with pytest.raises(error, match=message):
        film(tmp_path / "film.gif", env, own_process=True)
    assert list(tmp_path.iterdir()) == []


def test_a_film_that_breaks_off_is_not_there(tmp_path):
    path = tmp_path / "film.gif"
    with pytest.raises(RuntimeError, match="stop"), video.filming(path, "film_envs:Grey", own_process=True) as world:
        world.reset()
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_the_process_imports_no_tensorflow():
    code = "import wng_tf.envs.video, wng_tf.envs.screen, sys; assert not {'tensorflow', 'keras'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_script_that_films_is_not_run_again(tmp_path):
    """It may import TensorFlow, and need not say `if __name__ == "__main__"`."""
    (tmp_path / "script.py").write_text(
        "import sys\n"
        "sys.modules['tensorflow'] = sys  # stands for it\n"
        "print('run')\n"
        "from wng_tf.envs import video\n"
        f"with video.filming({str(tmp_path / 'film.gif')!r}, 'film_envs:Grey', own_process=True) as world:\n"
        "    world.reset(seed=0)\n"
        "print(__file__, __spec__)\n"
    )
    path = {"PYTHONPATH": os.pathsep.join(map(str, (Path(__file__).parents[1], Path(__file__).parents[2])))}
    command = [sys.executable, str(tmp_path / "script.py")]
    ran = subprocess.run(command, env={**os.environ, **path}, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["run", f"{tmp_path / 'script.py'} None"]
    assert (tmp_path / "film.gif").exists()


@pytest.mark.slow
def test_a_policy_that_acts_through_tensorflow_is_filmed_in_mujoco(tmp_path):
    pytest.importorskip("imageio_ffmpeg")
    small = {"nsteps": 32, "nminibatches": 2, "noptepochs": 1, "total_timesteps": 32, "progress": False}
    with uncompiled():
        policy = learn(env="Hopper-v5", alg="ppo", network="own_networks:residual", log_path=tmp_path / "run", **small)
    assert policy.acts_through_tensorflow
    command = [sys.executable, "-m", "wng_tf.evaluate", f"--run={tmp_path / 'run'}", "--episodes=1", "--trust"]
    command += ["--video_episodes=2", f"--video={tmp_path / 'film.mp4'}"]
    hidden = {name: value for name, value in os.environ.items() if name not in ("DISPLAY", "MUJOCO_GL")}
    path = {"PYTHONPATH": str(Path(__file__).parents[1])}
    ran = subprocess.run(command, env={**hidden, **path}, capture_output=True, text=True, timeout=300)
    if "no OpenGL" in ran.stderr:
        pytest.skip(ran.stderr.splitlines()[-1])
    assert ran.returncode == 0, ran.stderr
    frames = iio.imread(tmp_path / "film.mp4")
    assert frames.shape[1:] == (480, 640, 3) and len(frames) > 4 and frames[0].std() > 10
