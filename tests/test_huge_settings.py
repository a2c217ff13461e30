"""Settings that are finite and absurd: no infinity in a log or in a checkpoint's weights, and what stops is one sentence."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from short_runs import progress, train

from baselines_compat.vec_env import NonFiniteError
from wng_tf import run
from wng_tf.training import checkpoint, run_folder
from wng_tf.training.run import RunInfo, TrainingRun

PENDULUM = dict(env="InvertedPendulum-v5", num_env=1, total_timesteps=256)
CASES = [
    ("ppo on CartPole", dict(alg="trpo", trust_radius=1e5, total_timesteps=192)),
    ("ppo on CartPole", dict(alg="trpo", trust_radius=1e5, **PENDULUM)),
    ("ppo on CartPole", dict(alg="wtrpo", trust_radius=1e5, **PENDULUM)),
    ("ppo on CartPole", dict(lr="1e30", **PENDULUM)),
    ("ppo on CartPole", dict(vf_coef=1e30, **PENDULUM)),
    ("ppo on CartPole", dict(ent_coef=1e30, **PENDULUM)),
    ("wnes on Point", dict(lr="1e30")),
    ("wnes on Point", dict(lr="1e300")),
    ("wnes on Point", dict(alg="es", lr="1e300", optimizer="sgd")),
    ("wnes on Point", dict(alg="es", sigma=1e300)),
]


@pytest.mark.parametrize("name, settings", CASES, ids=[" ".join(f"{k}={v}" for k, v in s.items()) for _, s in CASES])
def test_nothing_infinite_is_written(name, settings, tmp_path):
    with contextlib.suppress(NonFiniteError):
        train(name, tmp_path / "run", **settings)
    rows = progress(tmp_path / "run") if (tmp_path / "run" / "progress.csv").exists() else []
    assert not [(key, value) for row in rows for key, value in row.items() if value in ("inf", "-inf")]
    for step in checkpoint.steps(tmp_path / "run" / run_folder.CHECKPOINTS):
        _, state = checkpoint.load(tmp_path / "run" / run_folder.CHECKPOINTS, step)
        learner = state["learner"].get("learner") or state["learner"]["strategy"]
        assert np.isfinite(learner["theta"].astype(np.float32)).all()


@pytest.mark.parametrize(
    "name, settings, sentence",
    [
        ("ppo on CartPole", dict(vf_coef=1e30, **PENDULUM), "Update 1 met a non-finite gradient"),
        ("wnes on Point", dict(lr="1e300"), "A step beyond what a policy's weights can be"),
    ],
)
def test_what_stops_a_run_is_named(name, settings, sentence, tmp_path):
    with pytest.raises(NonFiniteError, match=sentence) as error:
        train(name, tmp_path / "run", **settings)
    assert "\n" not in str(error.value)


def test_a_column_that_becomes_infinite_stops_the_run(tmp_path):
    """Whatever measured it."""
    info = RunInfo("walk", "None", "None-v0", 0, 8, {"alg": "walk"})
    with TrainingRun(info, log_path=tmp_path / "run", resume=False, num_env=1, save_interval=1) as walk:
        walk.start(lambda state: None)
        walk.log({"loss": 1.0, "unknown": np.nan, "wng/condition_number": np.inf}, 1, 1)
        with pytest.raises(NonFiniteError, match="^loss became infinite at step 2: training stopped; smaller steps"):
            walk.log({"loss": np.float32(-np.inf)}, 2, 2)
    assert len(progress(tmp_path / "run")) == 1


def test_a_radius_that_bounds_nothing_is_refused(tmp_path, call):
    code, _, err = call(
        run.app, "--alg=wtrpo", "--env=InvertedPendulum-v5", "--trust_radius=1e30", f"--log_path={tmp_path / 'run'}"
    )
    assert (code, err) == (2, "error: --trust_radius must be at most 100000.0, not 1e+30.\n")
    assert not (tmp_path / "run").exists()
