"""What is said of a cluster before and when it is joined, and of what its actors lack."""

from __future__ import annotations

import importlib.util
import os
import pickle
import signal
import socket
import sys
import types

import numpy
import pytest

from baselines_compat.errors import NonFiniteError
from baselines_compat.vec_env.faults import WorkerError
from wng_tf.cluster import connect
from wng_tf.cluster.served import Served, opened
from wng_tf.cluster.shell import Shell
from wng_tf.errors import UserError


@pytest.fixture
def no_ray(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else find(name))


@pytest.fixture
def fake_ray(monkeypatch):
    """A module `ray` that takes SIGTERM over, as the real one does, and does what the test says."""
    module = types.ModuleType("ray")
    module.given = {}

    def init(**given):
        module.given = given
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if module.fault is not None:
            raise module.fault

    module.init, module.fault = init, None
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setattr(connect, "check_ray", lambda address: None)
    before = signal.getsignal(signal.SIGTERM)
    yield module
    signal.signal(signal.SIGTERM, before)


def test_without_ray(no_ray):
    with pytest.raises(UserError, match=r"--engine=ray needs Ray: pip install 'wng_tf\[ray\]'"):
        connect.check_ray(None)


@pytest.mark.parametrize("address", ["no-such-host:1", "127.0.0.1:1", "ray://127.0.0.1:1", "localhost:port", "here:99999999"])
def test_no_cluster_at_the_address(address):
    pytest.importorskip("ray")
    with pytest.raises(UserError, match=f"The Ray cluster '{address}' does not answer .*check --ray_address"):
        connect.check_ray(address)


def test_somebody_listens():
    pytest.importorskip("ray")
    with socket.create_server(("127.0.0.1", 0)) as server:
        connect.check_ray(f"127.0.0.1:{server.getsockname()[1]}")
    connect.check_ray("auto")
    connect.check_ray(None)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("auto", True),
        ("127.0.0.1:6379", True),
        ("localhost:6379", True),
        ("192.0.2.7:6379", False),  # of a network for documentation
        ("ray://192.0.2.7:10001", False),
        ("no-such-host.invalid:6379", False),
    ],
)
def test_whether_a_cluster_is_of_this_machine(address, here):
    assert connect.is_here(address) == here


def test_a_handler_of_ones_own_stays(fake_ray):
    def stop(number, frame):
        pass

    signal.signal(signal.SIGTERM, stop)
    connect.join("auto", 3)
    assert signal.getsignal(signal.SIGTERM) is stop
    assert fake_ray.given["address"] == "auto" and "num_cpus" not in fake_ray.given
    connect.join(None, 3)
    assert fake_ray.given["address"] == "local" and fake_ray.given["num_cpus"] == 3


def test_the_cluster_of_the_environment_variable(fake_ray, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    connect.join(None, 3)
    assert fake_ray.given["address"] == "10.0.0.1:6379"


def test_a_cluster_that_refuses(fake_ray):
    fake_ray.fault = RuntimeError("Version mismatch: the cluster has another Python\nand more")
    with pytest.raises(UserError, match=r"'auto' does not answer \(Version mismatch: the cluster has another Python\)"):
        connect.join("auto")
    with pytest.raises(UserError, match="Ray cannot start a cluster on this machine"):
        connect.join(None)


# ---- what an actor answers ------------------------------------------------------------------------------------------


def test_a_shell_says_which_module_it_lacks():
    """The object is of a module that is not there, as on a node with fewer packages."""
    pickled = b"cno_such_module\nThing\n."
    with pytest.raises(UserError, match="(?s)cannot load its part .* No module named 'no_such_module'.*same packages"):
        opened(Shell([], {}, {}, pickled).call("anything"))


def test_a_shell_takes_folders_and_variables(tmp_path, monkeypatch):
    (tmp_path / "module_of_a_shell.py").write_text("def answer(method, args):\n    return 'ok', (method, args)\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("TF_OF_A_SHELL", "0")
    pickled = b"cmodule_of_a_shell\n__spec__\n."
    Shell([str(tmp_path), "/no/such/folder"], {"TF_OF_A_SHELL": "1"}, {}, pickled)
    assert str(tmp_path) in sys.path and "/no/such/folder" not in sys.path
    assert os.environ["TF_OF_A_SHELL"] == "1"
    assert pickle.loads(pickled).name == "module_of_a_shell"


def test_a_shell_says_which_package_is_of_another_version():
    pickled = pickle.dumps(Served(Thing))
    with pytest.raises(UserError, match=f"numpy is {numpy.__version__} there, and 1.0 here: .*the same packages"):
        opened(Shell([], {}, {"numpy": "1.0"}, pickled).call("works", 1))
    versions = {"numpy": numpy.__version__, "no-such-package": "1.0"}
    assert opened(Shell([], {}, versions, pickled).call("works", 1)) == 2


class Thing:
    def fails(self, kind):
        raise kind("as it is")

    def works(self, x):
        return x + 1


def test_answers():
    served = Served(Thing)
    assert opened(served.answer("works", (1,))) == 2
    for kind in (NonFiniteError, UserError):
        with pytest.raises(kind, match="^as it is$"):
            opened(served.answer("fails", (kind,)))
    for kind in (KeyError, SystemExit, KeyboardInterrupt):
        with pytest.raises(WorkerError, match="(?s)A Ray actor failed:.*as it is"):
            opened(served.answer("fails", (kind,)))


def test_what_cannot_be_made():
    def refuse(kind):
        raise kind("no such robot")

    with pytest.raises(UserError, match="A Ray actor on .* cannot do its part: no such robot"):
        opened(Served(lambda: refuse(UserError)).answer("works", (1,)))
    with pytest.raises(ValueError, match="^no such robot$"):
        opened(Served(lambda: refuse(ValueError)).answer("works", (1,)))
    with pytest.raises(WorkerError, match="(?s)failed:.*no such robot"):
        opened(Served(lambda: refuse(OSError)).answer("works", (1,)))
