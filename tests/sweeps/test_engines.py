"""Both engines keep one contract; Ray's with two nodes, a killed worker and a lost node."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.sweeps.test_sweep import ROOT, RUNNER, held_pid, jobs, sweep, table, wait_until
from wng_tf.errors import UserError
from wng_tf.sweeps.conduct import INTERRUPTED
from wng_tf.sweeps.engine_local import LocalEngine
from wng_tf.sweeps.engine_ray import RayEngine
from wng_tf.sweeps.records import is_locked, read_record


def square(item: int, stopped) -> int:
    if item == 3:
        raise ValueError("three")
    return item * item


def test_local_engine_maps_and_hands_exceptions_back():
    found = dict(LocalEngine(2).map(square, range(6), tick=lambda: None))
    error = found.pop(3)
    assert isinstance(error, ValueError) and str(error) == "three"
    assert found == {0: 0, 1: 1, 2: 4, 4: 16, 5: 25}
    assert list(LocalEngine(2).map(square, [], tick=lambda: None)) == []


def test_local_engine_runs_as_many_at_a_time_as_it_may():
    lock, at_work, most = threading.Lock(), 0, 0
    together = threading.Barrier(3)

    def work(item, stopped):
        nonlocal at_work, most
        with lock:
            at_work += 1
            most = max(most, at_work)
        together.wait(20)
        with lock:
            at_work -= 1

    assert len(list(LocalEngine(3).map(work, range(9), tick=lambda: None))) == 9
    assert most == 3


def test_local_engine_stops():
    engine = LocalEngine(2)
    begun = []

    def work(item, stopped):
        begun.append(item)
        while not stopped():
            time.sleep(0.01)
        return item

    results = list(engine.map(work, range(10), tick=lambda: engine.stop() if len(begun) == 2 else None))
    assert sorted(results) == [(0, 0), (1, 1)]


def test_ray_engine_without_a_cluster_is_one_sentence():
    pytest.importorskip("ray")
    with pytest.raises(UserError, match="check --ray_address"):
        RayEngine(address="no-such-host:1")


@pytest.fixture
def cluster():
    """Two nodes of one CPU each, and a head that runs nothing."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    cluster.test_nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    cluster.wait_for_nodes()
    try:
        yield cluster
    finally:
        import ray

        ray.shutdown()
        cluster.shutdown()


def ray_sweep(root: Path, address: str, *flags: str) -> subprocess.Popen:
    words = [sys.executable, "-m", "wng_tf.sweep", f"--runner={RUNNER}", f"--log_path={root}", "--algs=ppo",
             "--envs=Hopper-v5", "--seeds=0-2", "--grid=lr=1e-4,3e-4", "--set=num_timesteps=500", "--engine=ray",
             f"--ray_address={address}", *flags]  # fmt: skip
    return subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_ray_sweep_survives_a_killed_worker_and_a_lost_node(tmp_path, cluster):
    assert sweep(tmp_path / "local") == 0
    gate = tmp_path / "gate"
    settings = f"hold_at=200,hold_file={gate}"
    held = jobs(tmp_path / "ray", settings)
    process = ray_sweep(tmp_path / "ray", cluster.address, f"--set={settings}")
    try:
        first, second = held_pid(held[0]), held_pid(held[1])
        os.kill(parent(first), signal.SIGKILL)  # the Ray worker; its run lives on
        # A machine that is lost takes everything with it: worker, run, and the node's own processes.
        lost = next(node for node in cluster.test_nodes if second in descendants(node))
        for pid in (parent(second), second):
            os.kill(pid, signal.SIGKILL)
        cluster.remove_node(lost, allow_graceful=False)
        assert is_locked(held[0].paths.lock)
        gate.touch()
        output, _ = process.communicate(timeout=180)
    finally:
        gate.touch()
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    assert (tmp_path / "ray" / "sweep.csv").read_bytes() == (tmp_path / "local" / "sweep.csv").read_bytes()
    attempts = [read_record(job.paths.record).attempts for job in held]
    assert [attempt.pid for attempt in attempts[0]] == [first]  # waited for, not doubled
    assert [attempt.resumed for attempt in attempts[1]] == [False, True]  # continued from its checkpoint


@pytest.mark.slow
def test_ray_sweep_stops_and_continues(tmp_path, cluster):
    gate = tmp_path / "gate"
    settings = f"hold_at=200,hold_file={gate}"
    held = jobs(tmp_path / "ray", settings)
    process = ray_sweep(tmp_path / "ray", cluster.address, f"--set={settings}")
    try:
        for job in held[:2]:
            held_pid(job)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=180)
        assert process.returncode == INTERRUPTED, output
        wait_until(lambda: not any(is_locked(job.paths.lock) for job in held))
        assert {row["status"] for row in table(tmp_path / "ray")} == {"unfinished"}
        gate.touch()
        process = ray_sweep(tmp_path / "ray", cluster.address, f"--set={settings}")
        output, _ = process.communicate(timeout=180)
    finally:
        gate.touch()
        process.kill()
        process.wait()
    assert process.returncode == 0, output
    assert {row["status"] for row in table(tmp_path / "ray")} == {"finished"}
    assert [attempt.resumed for attempt in read_record(held[0].paths.record).attempts] == [False, True]


def descendants(node) -> set[int]:
    """Workers of a Ray node and the runs below them."""
    raylets = {info.process.pid for infos in node.all_processes.values() for info in infos}
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(path.name)] = parent(int(path.name))
    found = set(raylets)
    while new := {pid for pid, above in parents.items() if above in found} - found:
        found |= new
    return found


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
