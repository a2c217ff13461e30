"""Run folders: which are runs, what they are called, and what they earned."""

from __future__ import annotations

import json

import numpy as np
import pytest

from baselines_compat.whole_rows import DamagedFileWarning
from tests.plots.synthetic_runs import write_run
from wng_tf.errors import UserError
from wng_tf.plots.curves import episode_returns, return_curve
from wng_tf.plots.runs import load_run, load_runs, minutes, total_reward

EPISODES = np.arange(30.0)


def test_runs_are_found_below_folders_once_each(tmp_path):
    for alg, seed in (("wnpg", 1), ("wnpg", 0), ("ppo", 0)):
        write_run(tmp_path / alg / f"seed{seed}", alg=alg, env="Hopper-v5", seed=seed, returns=EPISODES)
    (tmp_path / "plots").mkdir()
    (tmp_path / ".sweep").mkdir()
    runs, left_out = load_runs([tmp_path, tmp_path / "wnpg"])
    assert [(run.alg, run.env, run.seed) for run in runs] == [
        ("ppo", "Hopper-v5", 0), ("wnpg", "Hopper-v5", 0), ("wnpg", "Hopper-v5", 1)
    ]  # fmt: skip
    assert left_out == 0


def test_unfinished_runs_are_counted_and_left_out(tmp_path):
    write_run(tmp_path / "a", alg="ppo", env="Hopper-v5", seed=0, returns=EPISODES)
    write_run(tmp_path / "b", alg="ppo", env="Hopper-v5", seed=1, returns=EPISODES, finished=False)
    runs, left_out = load_runs([tmp_path])
    assert [run.seed for run in runs] == [0] and left_out == 1
    runs, left_out = load_runs([tmp_path], unfinished=True)
    assert [run.finished for run in runs] == [True, False] and left_out == 0
    with pytest.raises(UserError, match="1 are not finished: --unfinished plots them"):
        load_runs([tmp_path / "b"])


def test_variants_are_the_flags_that_differ_on_a_task(tmp_path):
    rows = [("ppo", "Hopper-v5", 0, "1e-4"), ("ppo", "Hopper-v5", 0, "3e-4"), ("wnpg", "Hopper-v5", 0, "5e-5"),
            ("ppo", "Walker2d", 0, "1e-4"), ("wnpg", "Walker2d", 0, "1e-4"),
            ("wnpg", "Walker2d", 1, "1e-4")]  # fmt: skip
    for i, (alg, env, seed, lr) in enumerate(rows):
        place = tmp_path / str(i)
        write_run(place, alg=alg, env=env, seed=seed, returns=EPISODES, lr=lr, lam="0.9", log_interval=i)
    runs, _ = load_runs([tmp_path])
    # A learning rate chosen per task and method does not make several methods; a learning rate that is swept does.
    assert [run.method for run in runs] == [
        ("ppo", "lr=1e-4"), ("ppo", "lr=3e-4"), ("wnpg", ""), ("ppo", ""), ("wnpg", ""), ("wnpg", "")
    ]  # fmt: skip


def test_runs_are_cut_at_a_number_of_steps(tmp_path):
    settings = {"num_env": 2, "nsteps": 256, "columns": {"loss/kl_moved": lambda step: step}}
    write_run(tmp_path / "a", alg="ppo", env="Hopper-v5", seed=0, returns=np.arange(10.0), **settings)
    ((run,), _) = load_runs([tmp_path], max_steps=600)
    # Two environments side by side: an episode of 100 steps ends every 200 of both.
    assert [list(table["r"]) for table in run.monitors] == [[0.0, 2.0, 4.0], [1.0, 3.0, 5.0]]
    assert list(run.progress["misc/total_timesteps"]) == list(run.progress["loss/kl_moved"]) == [256, 512]
    assert return_curve(run, window=2).values[-1] == 4.5


def test_environments_without_an_episode_count(tmp_path):
    write_run(tmp_path / "a", alg="ppo", env="Hopper-v5", seed=0, returns=[1.0, 2.0], lengths=[100, 300], num_env=2)
    ((run,), _) = load_runs([tmp_path], max_steps=400)
    assert [len(table) for table in run.monitors] == [1, 0]
    assert list(episode_returns(run)[0]) == [200]
    ((run,), _) = load_runs([tmp_path], max_steps=100)
    assert run.monitors == ()
    # The same where the run itself has not come further.
    write_run(tmp_path / "b", alg="ppo", env="Hopper-v5", seed=0, returns=[1.0], num_env=2)
    assert list(episode_returns(load_run(tmp_path / "b"))[0]) == [200]


def test_a_folder_with_a_summary_alone_is_a_run(tmp_path):
    folder = write_run(tmp_path / "a", alg="sb3_ppo", env="Hopper-v5", seed=3, returns=EPISODES)
    (folder / "flags.txt").unlink()
    run = load_run(folder)
    assert (run.alg, run.env, run.seed, run.settings) == ("sb3_ppo", "Hopper-v5", 3, {})
    (folder / "summary.json").write_text("{}")
    assert load_run(folder) is None


def test_total_reward_and_minutes(tmp_path):
    run = load_run(
        write_run(tmp_path / "a", alg="ppo", env="Hopper-v5", seed=0, returns=EPISODES, num_env=2, nsteps=1000,
                  seconds_per_step=0.06)
    )  # fmt: skip
    assert total_reward(run) == EPISODES.sum()
    assert minutes(run) == pytest.approx(3.0)
    # Without monitor files: what the log says, return over length times steps.
    for file in run.folder.glob("*.monitor.csv"):
        file.unlink()
    log = load_run(run.folder)
    expected = sum(np.mean(EPISODES[:n]) / 100 * 1000 for n in (10, 20, 30))
    assert total_reward(log) == pytest.approx(expected)
    (run.folder / "progress.csv").unlink()
    bare = load_run(run.folder)
    assert np.isnan(total_reward(bare)) and np.isnan(minutes(bare))


def test_folders_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="There is no folder"):
        load_runs([tmp_path / "nowhere"])
    with pytest.raises(UserError, match="no finished runs"):
        load_runs([tmp_path])


DAMAGE = {
    "progress.csv": [b"", b"eprewmean\n", b"\xff\xfe\n"],
    "0.monitor.csv": [b"", b"r,l,t\n", b'#{"t_start": 1.0}\nr,l,t-21.0,792,63.4\n'],
    "summary.json": [b"", b'{"status"', b"[]", b"\xff"],
    "flags.txt": [b"\xff", b"--seed=x\n--alg=ppo\n--env=Hopper-v5\n"],
}


@pytest.mark.parametrize(("name", "data"), [(name, data) for name, every in DAMAGE.items() for data in every])
def test_a_damaged_file_is_named_and_the_good_runs_are_loaded(name, data, tmp_path):
    for seed in (0, 1):
        write_run(tmp_path / str(seed), alg="ppo", env="Hopper-v5", seed=seed, returns=EPISODES)
    (tmp_path / "1" / name).write_bytes(data)
    if name == "flags.txt":
        (tmp_path / "1" / "summary.json").unlink()
    with pytest.warns(DamagedFileWarning, match=str(tmp_path / "1")):
        runs, _ = load_runs([tmp_path], unfinished=True)
    assert runs[0].seed == 0 and len(return_curve(runs[0]).steps)
    assert [run.seed for run in runs[1:]] == ([] if name == "flags.txt" else [1])
    for run in runs:
        return_curve(run)


@pytest.mark.parametrize("progress", [None, b"", b"eprewmean,misc/total_timesteps\n"])
def test_a_run_that_has_logged_nothing_yet_has_an_empty_curve(progress, tmp_path):
    write_run(tmp_path / "run", alg="ppo", env="Hopper-v5", seed=0, returns=EPISODES, finished=False)
    for file in ("progress.csv", "0.monitor.csv"):
        (tmp_path / "run" / file).unlink(missing_ok=True)
    if progress is not None:
        (tmp_path / "run" / "progress.csv").write_bytes(progress)
    (run,), _ = load_runs([tmp_path], unfinished=True)
    assert len(return_curve(run).steps) == 0


def test_what_was_evaluated_is_that_of_the_end(tmp_path):
    """Of the last checkpoint, and of no earlier step: runs that are cut have none."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "summary.json").write_text(
        '{"status": "finished", "alg": "ppo", "env": "E-v0", "seed": 0, "total_timesteps": 200}'
    )
    (folder / "progress.csv").write_text("misc/total_timesteps,eprewmean\n100,1.0\n200,2.0\n")
    evaluation = {"step": 200, "episodes": 3, "deterministic": {"mean": 7.5}}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    found = [load_runs([tmp_path], max_steps=steps)[0][0].eval_return for steps in (None, 200, 150)]
    np.testing.assert_array_equal(found, [7.5, 7.5, np.nan])
    (folder / "evaluation.json").write_text(json.dumps({**evaluation, "step": 100}))
    assert np.isnan(load_run(folder).eval_return)


def test_a_setting_that_an_earlier_version_did_not_know_is_at_its_default(tmp_path):
    """Such runs are of one method with those that name the default, and of another with those that name something else."""
    for seed, lines in enumerate(("", "--init_logstd=0.0\n", "--init_logstd=-1.0\n")):
        folder = tmp_path / f"seed{seed}"
        folder.mkdir()
        (folder / "flags.txt").write_text(f"--alg=wnpg\n--env=Hopper-v5\n--seed={seed}\n{lines}")
        (folder / "summary.json").write_text('{"status": "finished"}')
    both, _ = load_runs([tmp_path / "seed0", tmp_path / "seed1"])
    assert {run.variant for run in both} == {""}
    all_three, _ = load_runs([tmp_path])
    assert [run.variant for run in all_three] == ["init_logstd=0.0", "init_logstd=0.0", "init_logstd=-1.0"]
