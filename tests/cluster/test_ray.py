"""Runs on a Ray cluster of two nodes, one of which, or an actor on it, is killed in mid-generation or in mid-rollout."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from gated_worlds import VARIABLE
from short_runs import TINY, as_flags

from tests.sweeps.test_engines import descendants
from tests.training.test_resume import assert_same_run
from wng_tf.training import checkpoint

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
ENV = "gated_worlds:Gated-v0"
ES = {"env": ENV, "alg": "wnes", "population": 4, "num_hidden": 6, "num_timesteps": 700, "save_interval": 1, "seed": 3}
PPO = {**TINY, "env": ENV, "alg": "ppo", "num_env": 4, "num_timesteps": 64 * 4 * 3, "save_interval": 1, "seed": 3}
RUNS = {"es": ES, "ppo": PPO}

pytestmark = pytest.mark.slow


@pytest.fixture
def gate(tmp_path, monkeypatch):
    """The folder of the gate, which the nodes of `cluster` know."""
    folder = tmp_path / "gate"
    folder.mkdir()
    monkeypatch.setenv(VARIABLE, str(folder))
    monkeypatch.setenv("PYTHONPATH", f"{HERE}:{ROOT}")
    return folder


@pytest.fixture
def cluster(gate):
    """Two nodes of one CPU each, and a head that runs nothing."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.test_nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        (gate / "gate").touch()
        cluster.shutdown()


def start(folder: Path, settings: dict, *flags: str) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}", "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop(VARIABLE, None)  # this process makes a world, and steps none
    words = [sys.executable, "-m", "wng_tf.run", *as_flags(**settings, log_path=folder), *flags]
    return subprocess.Popen(words, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=300)
    return output


def held(gate: Path, count: int) -> dict[int, bool]:
    """Processes that stand still, and whether TensorFlow is in them."""
    until = time.monotonic() + 200.0
    while len(found := list(gate.glob("held-*"))) < count:
        assert time.monotonic() < until, "no actor came that far"
        time.sleep(0.05)
    return {int(path.name.split("-")[1]): path.name.endswith("True") for path in found}


@pytest.mark.parametrize("lost", ["actor", "node"])
@pytest.mark.parametrize("name", RUNS)
def test_losses_change_no_bit(name, lost, tmp_path, gate, cluster):
    settings = RUNS[name]
    alone = start(tmp_path / "local", settings)
    assert alone.wait(300) == 0, finish(alone)
    process = start(tmp_path / "ray", settings, "--engine=ray", f"--ray_address={cluster.address}", "--num_workers=2")
    try:
        pids = held(gate, 2)
        assert set(pids.values()) == {name == "es"}, "actors of policy gradients import no TensorFlow"
        victim = min(pids)
        node = next(node for node in cluster.test_nodes if victim in descendants(node))
        os.kill(victim, signal.SIGKILL)
        if lost == "node":
            cluster.remove_node(node, allow_graceful=False)
        (gate / "gate").touch()
        output = finish(process)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    assert_same_run(tmp_path / "local", tmp_path / "ray")
    assert "was lost" in (tmp_path / "ray" / "log.txt").read_text()


@pytest.mark.parametrize("name", RUNS)
def test_ctrl_c_and_on_this_machine_alone(name, tmp_path, gate, cluster):
    settings = RUNS[name]
    alone = start(tmp_path / "local", settings)
    assert alone.wait(300) == 0, finish(alone)
    process = start(tmp_path / "ray", settings, "--engine=ray", f"--ray_address={cluster.address}", "--num_workers=2")
    try:
        held(gate, 2)
        process.send_signal(signal.SIGTERM if name == "ppo" else signal.SIGINT)  # Ray has a handler of its own for one
        time.sleep(0.5)
        (gate / "gate").touch()
        output = finish(process)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, output
    assert "Stopping after this update" in output
    assert len(checkpoint.steps(tmp_path / "ray" / "checkpoints")) == 1
    flagfile = f"--flagfile={tmp_path / 'ray' / 'flags.txt'}"
    local = subprocess.run(
        [sys.executable, "-m", "wng_tf.run", flagfile, "--resume", "--engine=local", f"--env={ENV}", "--num_workers=1"],
        cwd=ROOT, env={**os.environ, "PYTHONPATH": f"{HERE}:{ROOT}", VARIABLE: str(gate)}, capture_output=True, text=True,
    )  # fmt: skip
    assert local.returncode == 0, local.stderr
    assert_same_run(tmp_path / "local", tmp_path / "ray")


def test_a_module_that_the_actors_do_not_have(tmp_path, cluster):
    """It is there for the program that starts them alone."""
    code = (
        "import sys, types, gymnasium; sys.argv[0] = 'run'; module = types.ModuleType('only_here');"
        "sys.modules['only_here'] = module;"
        "gymnasium.register('Only-v0', entry_point='gymnasium.envs.classic_control.cartpole:CartPoleEnv',"
        " max_episode_steps=20);"
        "from wng_tf import run; run.app()"
    )
    for settings in RUNS.values():
        flags = as_flags(**{**settings, "env": "only_here:Only-v0", "log_path": tmp_path / settings["alg"]})
        done = subprocess.run(
            [sys.executable, "-c", code, *flags, "--engine=ray", f"--ray_address={cluster.address}"],
            cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert "error: A Ray actor on" in done.stderr
        assert "module 'only_here' cannot be imported" in done.stderr.replace('"', "'")


def test_more_actors_than_the_cluster_has_processors(tmp_path, cluster):
    process = start(tmp_path / "run", ES, "--engine=ray", f"--ray_address={cluster.address}", "--num_workers=3")
    assert "error: --num_workers=3 is more than the 2 CPUs of the Ray cluster" in finish(process)
    assert process.returncode == 2
    with contextlib.suppress(FileNotFoundError):
        assert not list((tmp_path / "run").iterdir())
