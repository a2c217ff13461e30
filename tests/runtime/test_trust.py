"""A run folder or a flagfile of somebody else runs nothing but what is installed, unless it is trusted."""

from __future__ import annotations

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from short_runs import uncompiled
from test_cli import assert_sentence

import wng_tf
from wng_tf import embeddings, evaluate, export, run, saved_policy, sweep
from wng_tf.errors import UserError
from wng_tf.experiments import exact_matrix, figure3
from wng_tf.runtime import trust

MODULE = """
from pathlib import Path
import gymnasium
Path(__file__).with_name("was_run").touch()
gymnasium.register("Own/CartPole-v0", entry_point="gymnasium.envs.classic_control:CartPoleEnv", max_episode_steps=50)
def embed(trajectory, length):
    return trajectory.final_observation
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A module that lies in the current folder, which Python looks at first, and tells by a file that it was run."""
    name = f"own_{abs(hash(tmp_path))}"
    (tmp_path / f"{name}.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield name
    sys.modules.pop(name, None)


@pytest.fixture
def folder(own, trained, tmp_path):
    """A run in the environment of that module."""
    target = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), target)
    env = f"{own}:Own/CartPole-v0"
    _rewrite(target, env=env, log_path=target)
    summary = target / "summary.json"
    summary.write_text(json.dumps({**json.loads(summary.read_text()), "env": env}))
    return target


def _rewrite(folder: Path, **values: object) -> None:
    file = folder / "flags.txt"
    kept = [line for line in file.read_text().splitlines() if line[2:].partition("=")[0] not in values]
    file.write_text("\n".join([*kept, *(f"--{name}={value}" for name, value in values.items())]) + "\n")


def test_evaluation_asks_before_it_runs_a_module_that_is_not_installed(call, folder, own):
    outcome = call(evaluate.app, f"--run={folder}", "--episodes=1")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, str(folder / "flags.txt"), own, "not installed", "--trust")
    film = call(evaluate.app, f"--run={folder}", "--episodes=1", "--video=film.gif")
    assert film.code == 2 and not Path("film.gif").exists()
    with pytest.raises(UserError, match="trust=True"):
        evaluate.evaluate_run(folder, episodes=1)
    assert not Path("was_run").exists()
    assert evaluate.evaluate_run(folder, episodes=1, trust=True)["episodes"] == 1
    assert Path("was_run").exists()


def test_with_trust_it_is_evaluated(call, folder):
    assert call(evaluate.app, f"--run={folder}", "--episodes=1", "--trust").code == 0
    assert Path("was_run").exists()


def test_what_is_in_the_run_folder_itself_is_no_better(call, folder, monkeypatch):
    for file in Path().glob("own_*.py"):
        shutil.move(file, folder)
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    assert call(evaluate.app, "--run=.", "--episodes=1").code == 2
    assert not (folder / "was_run").exists()


def test_an_export_runs_nothing(folder):
    export.export_run(folder)
    assert not Path("was_run").exists()


@pytest.mark.parametrize("experiment", [figure3, exact_matrix])
def test_experiments_ask(experiment, call, folder):
    outcome = call(experiment.app, folder)
    assert outcome.code == 2
    assert_sentence(outcome.stderr.splitlines()[-1] + "\n", "not installed", "--trust")
    assert not Path("was_run").exists()


@pytest.mark.parametrize("experiment", [figure3, exact_matrix])
@pytest.mark.parametrize("flag", ["network", "embedding", "metric"])
def test_experiments_ask_about_the_parts_of_a_run(experiment, flag, call, folder, own):
    _rewrite(folder, env="CartPole-v1", **{flag: f"{own}:embed"})
    outcome = call(experiment.app, folder)
    assert outcome.code == 2
    assert_sentence(outcome.stderr.splitlines()[-1] + "\n", "not installed", "--trust")
    assert not Path("was_run").exists()


LAYERS = """
from pathlib import Path
import keras
Path(__file__).with_name("was_run").touch()
@keras.saving.register_keras_serializable("NAME")
class Halving(keras.layers.Layer):
    def call(self, x):
        return 0.5 * x
def halved(input_shape):
    inputs = keras.Input(input_shape)
    return keras.Model(inputs, Halving()(keras.layers.Dense(4)(inputs)))
"""


@pytest.mark.parametrize("alg", ["ppo", "es"])
def test_the_layers_of_a_run_are_imported_where_they_act_and_not_unasked(alg, call, own, tmp_path):
    """Those of a module in the current folder; the policy is in a process that has not imported it yet."""
    (tmp_path / f"{own}.py").write_text(LAYERS.replace("NAME", own))
    importlib.invalidate_caches()
    sizes = {"ppo": {"nsteps": 16, "nminibatches": 2}, "es": {"population": 2, "horizon": 5}}[alg]
    network = f"{own}:halved"
    with uncompiled():
        returned = wng_tf.learn(
            alg=alg, env="Point", network=network, total_timesteps=32, log_path="run", progress=False, **sizes
        )
    seen = np.random.default_rng(0).normal(size=(9, returned.spec.observations))
    expected = returned.act(seen)

    def forget() -> None:
        sys.modules.pop(own, None)
        keras.saving.get_custom_objects().pop(f"{own}>Halving", None)
        Path("was_run").unlink(missing_ok=True)

    forget()
    film = ("--episodes=1", "--max_episode_steps=5", "--video=film.gif")
    for app, *flags in ((evaluate.app, "--episodes=1"), (evaluate.app, *film), (export.app,)):
        outcome = call(app, "--run=run", *flags)
        assert outcome.code == 2 and not Path("was_run").exists()
        assert_sentence(outcome.stderr.splitlines()[-1] + "\n", own, "not installed", "--trust")
    for use in (lambda: evaluate.evaluate_run("run", episodes=1), lambda: export.export_run("run")):
        with pytest.raises(UserError, match="trust=True"):
            use()
    with pytest.raises(UserError, match="which is not registered here"):
        wng_tf.load("run").act(seen)
    for app, *flags in ((evaluate.app, "--episodes=1", "--max_episode_steps=5"), (export.app,)):
        forget()
        assert call(app, "--run=run", "--trust", *flags).code == 0 and Path("was_run").exists()
    saved = returned.save("policy")
    for place in ("run", saved, Path("run", "export")):
        forget()
        policy = saved_policy.load_to_act(place, trust=True)
        np.testing.assert_array_equal(policy.act(seen), expected)
        with pytest.raises(UserError, match="trust=True"):
            forget()
            saved_policy.load_to_act(place)


NAMES = ["--env={own}:Own/CartPole-v0", "--embedding={own}:embed", "--env=antigravity:X-v0", "--embedding=os:system"]
NAMES += [f"--{flag}={{own}}:embed" for flag in ("surrogate", "penalty", "metric", "step_rule", "preconditioner", "network")]
NAMES += ["--metric=os:system"]
NAMES += ["--embedding=builtins:eval", "--embedding=subprocess:call", "--env=numpy.__main__:X-v0"]


@pytest.mark.parametrize("line", NAMES)
def test_flagfiles_ask(line, call, own, tmp_path):
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text(f"--alg=wnpg\n--env=CartPole-v1\n{line.format(own=own)}\n--log_path={tmp_path / 'new'}\n")
    outcome = call(run.app, f"--flagfile={flagfile}", "--num_timesteps=64")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "The flagfile names", "--trust")
    assert not (tmp_path / "was_run").exists() and not (tmp_path / "new").exists()
    assert "antigravity" not in sys.modules


def test_a_flagfile_cannot_trust_itself(call, own, tmp_path):
    for trusting in ("--trust", "--trust=true", "-trust", "--notrust"):
        (tmp_path / "inner.txt").write_text(f"{trusting}\n--env={own}:Own/CartPole-v0\n")
        (tmp_path / "flags.txt").write_text("--flagfile=inner.txt\n")
        outcome = call(run.app, "--flagfile=flags.txt")
        assert outcome.code == 2
        assert_sentence(outcome.stderr, "inner.txt", "only on the command line")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize("typed", [["--env={own}:Missing-v0"], ["--env", "{own}:Missing-v0"], ["--trust"]])
def test_what_the_user_types_is_trusted(typed, call, own, tmp_path):
    (tmp_path / "flags.txt").write_text(f"--env={own}:Missing-v0\n")
    outcome = call(run.app, "--flagfile=flags.txt", *(part.format(own=own) for part in typed))
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "There is no environment")
    assert (tmp_path / "was_run").exists()


def test_what_the_user_types_says_nothing_of_other_names(call, own, tmp_path):
    (tmp_path / "flags.txt").write_text(f"--embedding={own}:embed\n--log_path={own}:Missing-v0\n")
    outcome = call(run.app, "--env=CartPole-v1", "--flagfile=flags.txt")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "The flagfile names", "--trust")
    assert not (tmp_path / "was_run").exists()


SWEEPS = ["--envs={own}:X-v0", "--set=embedding={own}:embed", "--grid=embedding={own}:embed,final_state", "--runner={own}"]
SWEEPS += ["--override=alg=wnpg:embedding={own}:embed"]
SWEEPS += ["--set=metric={own}:embed", "--grid=preconditioner={own}:embed,fisher"]


@pytest.mark.parametrize("line", SWEEPS)
def test_flagfiles_of_sweeps_ask(line, call, own, tmp_path):
    (tmp_path / "some.flags").write_text(line.format(own=own) + "\n")
    outcome = call(sweep.app, "--algs=wnpg", "--envs=CartPole-v1", "--flagfile=some.flags", "--log_path=out")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "The flagfile", "--trust")
    assert not (tmp_path / "was_run").exists() and not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["Hopper", "wng_tf/Point", "gymnasium.envs.mujoco:Hopper-v5", "tqdm:X"])
def test_installed_packages_need_no_trust(name):
    trust.check(name, "It")


def test_a_function_of_python_is_refused_wherever_it_is_found():
    assert embeddings.find("scipy.io._netcdf:reduce").function is not None  # functools.reduce
    with pytest.raises(UserError, match="standard library"):
        trust.check_part("scipy.io._netcdf:reduce", "It", embeddings.EMBEDDINGS)


def test_a_folder_without_init_is_not_installed(tmp_path, monkeypatch):
    (tmp_path / "spread").mkdir()
    (tmp_path / "spread" / "part.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="not installed"):
        trust.check("spread.part:X-v0", "It")


@pytest.mark.parametrize("name", ["site-packages", "dist-packages"])
def test_the_name_of_a_folder_does_not_make_it_one_of_packages(name, tmp_path, monkeypatch):
    (tmp_path / name).mkdir()
    (tmp_path / name / "sly_module.py").write_text("")
    (tmp_path / name / "sly-1.dist-info").mkdir()
    (tmp_path / name / "sly-1.dist-info" / "top_level.txt").write_text("sly_module\n")
    url = f'{{"dir_info": {{"editable": true}}, "url": "{(tmp_path / name).as_uri()}"}}'
    (tmp_path / name / "sly-1.dist-info" / "direct_url.json").write_text(url)
    monkeypatch.syspath_prepend(str(tmp_path / name))
    with pytest.raises(UserError, match="not installed"):
        trust.check("sly_module:X-v0", "It")


def test_an_editable_install_is_installed(tmp_path, monkeypatch):
    project, packages = tmp_path / "project", tmp_path / "packages"
    info = packages / "mine-1.dist-info"
    for folder in (project, info):
        folder.mkdir(parents=True)
    (project / "mine_module.py").write_text("")
    (project / "other_module.py").write_text("")
    (info / "METADATA").write_text("Name: mine\nVersion: 1\n")
    (info / "top_level.txt").write_text("mine_module\n")
    (info / "direct_url.json").write_text(f'{{"dir_info": {{"editable": true}}, "url": "{project.as_uri()}"}}')
    monkeypatch.syspath_prepend(str(project))
    monkeypatch.setattr(trust.site, "getsitepackages", lambda: [str(packages)])
    trust.check("mine_module:X-v0", "It")
    with pytest.raises(UserError, match="not installed"):
        trust.check("other_module:X-v0", "It")


def test_the_command_line_with_the_current_folder_first(own, folder):
    command = [sys.executable, "-m", "wng_tf.evaluate", f"--run={folder}", "--episodes=1"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert_sentence(result.stderr, "not installed but lies in", "--trust")
    assert not Path("was_run").exists()
