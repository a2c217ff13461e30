"""Bad input and faults: one sentence on stderr that says what to do, exit code 2 or 1, nothing overwritten."""

from __future__ import annotations

import errno
import importlib.metadata
import re
import shutil
import sys

import pytest
from short_runs import TINY, as_flags, contents, train, uncompiled

import wng_tf
from wng_tf import evaluate, export, plot, run, saved_policy, sweep, tune
from wng_tf.cli import app as cli
from wng_tf.errors import UserError
from wng_tf.training import checkpoint

BAD_FLAGS = {
    "--env=Hoper": "Did you mean Hopper",
    "--env=Hopper-v99": "Hopper-v5",
    "--env=Hopper-v2": "Did you mean Hopper-v5",
    "--env=numpy:Missing-v0": "the module 'numpy' registers no 'Missing-v0'",
    "--env=no_such_module:X-v0": "cannot be imported",
    "--env=faulty_ids:ManyChoices-v0": "Box, Discrete, MultiDiscrete or MultiBinary",
    "--env=faulty_ids:Images-v0": "Wrap the environment",
    "--env=faulty_ids:Words-v0": "Wrap the environment",
    "--alg=bgwnpg": "Did you mean bg_wnpg",
    "--alg=zzz": "Choose one of pg, ppo,",
    "--lrr=1": "Did you mean: lr",
    "--embedding=action": "choose one of actions,",
    "--embedding=no_such_module:f": "cannot be imported",
    "--network=mpl": "registered are",
    "--gamma=1.5": "--gamma must be at most 1.0, not 1.5",
    "--gamma=abc": "--gamma=abc",
    "--gamma=nan": "--gamma must be finite",
    "--epsilon=0": "--epsilon must be at least 1e-10",
    "--nsteps=1.5": "not a whole number",
    "--nsteps=0": "--nsteps must be at least 1",
    "--num_timesteps=0": "--num_timesteps must be at least 1",
    "--num_timesteps=1e400": "not a whole number",
    "--num_timesteps=1.5": "'1.5' is not a whole number",
    "--seed=0.5": "'0.5' is not a whole number",
    "--num_threads=1.5": "'1.5' is not a whole number",
    "--num_threads=0": "--num_threads must be at least 1",
    "--seed=-1": "--seed",
    "--lr=abc": "write a number",
    "--optimizer=rmsprop": "adam, momentum, sgd",
    "--nminibatches=7": "does not divide the batch of 2048",
    "--num_workers=3": "is more than --num_env=1",
    "--engine=slurm": "--engine must be one of local, ray, not 'slurm'",
    "--population=3": "not a setting of policy gradients",
    "--normalize_rewards=maybe": "--normalize_rewards=maybe",
    "--flagfile=no_such_file": "no_such_file",
    "--resume": "There is no run in",
    "extra": "--name=value",
    "--env=CartPole-v1 --alg=bg_wnpg": "--alg=ppo",
    "--env=CartPole-v1 --alg=wnpg --jacobian=reparameterised": "use --jacobian=score",
    "--alg=wnpg --embedding=final_state --jacobian=reparameterised": "use --jacobian=score",
}


def assert_sentence(stderr: str, *parts: str) -> None:
    """One line, which begins with `error:`, ends as a sentence, and has the parts in it."""
    assert stderr.startswith("error: ") and stderr.count("\n") == 1 and stderr.endswith((".\n", "?\n")), stderr
    for part in parts:
        assert part in stderr


NEEDS_TENSORFLOW = ("--env=faulty_ids", "--env=CartPole-v1 --alg", "--jacobian=reparameterised")
"""Parts of bad flags that only an environment's spaces, or a network, can show to be bad."""


@pytest.mark.parametrize("bad", [bad for bad in BAD_FLAGS if not any(part in bad for part in NEEDS_TENSORFLOW)])
def test_bad_flags_are_refused_before_tensorflow_is_loaded(bad, call, tmp_path):
    outcome = call(run.app, f"--log_path={tmp_path / 'run'}", "--alg=ppo", "--env=Hopper-v5", *bad.split())
    assert outcome.code == 2
    assert "Loading TensorFlow" not in outcome.stdout


WITHOUT_EFFECT = [
    ("--alg=ppo --trust_radius=0.1", "--step_rule=trust_region, as in trpo, wtrpo"),
    ("--alg=ppo --trust_radius 0.1", "--step_rule=trust_region, as in trpo, wtrpo"),
    ("--alg=ppo --adaptive_radius", "--step_rule=trust_region, as in trpo, wtrpo"),
    ("--alg=pg --cliprange=0.1", "--surrogate=clipped, as in ppo"),
    ("--alg=ppo --kl_target=0.1", "--penalty=kl, as in ppo_kl"),
    ("--alg=wnpg --wasserstein_coef=1", "--penalty=wasserstein, as in bgpg, bg_wnpg"),
    ("--alg=npg --num_basis=9", "--metric=wasserstein_kernel, as in wnpg, bg_wnpg"),
    ("--alg=trpo --embedding=final_state", "--metric=wasserstein_kernel|wasserstein_exact"),
    ("--alg=trpo --noptepochs=3", "--step_rule=minibatch, as in pg, ppo,"),
    ("--alg=wtrpo --epsilon=0.3", "--step_rule=minibatch --metric=fisher_empirical|fisher_exact|wasserstein_kernel|"),
    ("--alg=wnpg --nodiagonal_damping --preconditioner=identity", "--step_rule=minibatch --metric=fisher_empirical|"),
    ("--alg=ppo --ray_address=auto", "--engine=ray."),
    ("--alg=es --delta=-1", "--metric=wasserstein_kernel, as in wnes, bg_wnes"),
    ("--alg=wnes --repulsion_coef=0.7", "--repulsion=wasserstein|novelty, as in bges, nsr_es, bg_wnes"),
    ("--alg=bges --novelty_k=3", "--repulsion=novelty, as in nsr_es"),
    ("--alg=bges --inner_steps=3", "--repulsion=wasserstein --distance=test_functions."),
    ("--alg=es --perturbation=unit --sigma=0.3", "--perturbation=gaussian, as in es,"),
    ("--alg=ppo --eval_episodes=3", "--eval_interval above 0. Leave it out."),
    ("--alg=es --eval_episodes=3", "--eval_interval above 0. Leave it out."),
    ("--alg=ppo --eval_env=CartPole-v1", "--eval_interval above 0. Leave it out."),
    ("--alg=bg_wnes --eval_env=CartPole-v1 --eval_interval=0", "--eval_interval above 0. Leave it out."),
    ("--alg=trpo --radius_unit=absolute", "--step_rule=trust_region --distance=wasserstein or"),
    ("--alg=wtrpo --radius_unit=absolute --distance=kl", "--step_rule=trust_region --distance=wasserstein or"),
    (
        "--alg=wtrpo --radius_unit=absolute --distance=kl",
        "--step_rule=trust_region --distance=wasserstein or --step_rule=trust_region and no --distance and a Wasserstein "
        "--metric, as in wtrpo. Leave it out.",
    ),
    ("--alg=wnpg --embedding_length=5", "--metric=wasserstein_kernel and an --embedding of points in time"),
    ("--alg=wnpg --embedding_length=5 --embedding=final_state", "--metric=wasserstein_kernel and an --embedding of points"),
    ("--alg=wnes --embedding_length=5", "an --embedding of points in time. Leave it out."),
    ("--alg=wnpg --num_actions=5 --embedding=trajectory_actions", "--penalty=wasserstein or --metric=wasserstein_kernel and"),
    ("--alg=es --num_hidden=5 --network=cnn", "--network=mlp|toeplitz. Leave it out."),
    ("--alg=ppo --num_layers=5 --network=cnn", "--network=mlp. Leave it out."),
]


@pytest.mark.parametrize("alg", ["ppo", "es"])
def test_a_cluster_that_cannot_be_joined_is_refused_before_tensorflow_is_loaded(alg, call, tmp_path):
    pytest.importorskip("ray")
    words = [f"--log_path={tmp_path / 'run'}", "--env=Hopper-v5", f"--alg={alg}", "--engine=ray"]
    outcome = call(run.app, *words, "--ray_address=no-such-host:1")
    assert outcome.code == 2 and outcome.stdout == ""
    assert_sentence(outcome.stderr, "The Ray cluster 'no-such-host:1' does not answer", "check --ray_address")
    flagfile = tmp_path / "flags.txt"
    flagfile.write_text("--engine=ray\n--ray_address=192.0.2.7:6379\n")
    outcome = call(run.app, *words[:3], f"--flagfile={flagfile}")
    assert outcome.code == 2 and outcome.stdout == ""
    assert_sentence(outcome.stderr, "The flagfile names the Ray cluster '192.0.2.7:6379', of another machine", "or --trust")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("flags", "where"), WITHOUT_EFFECT)
def test_a_setting_without_effect_is_refused_by_name(flags, where, call, tmp_path):
    outcome = call(run.app, f"--log_path={tmp_path / 'run'}", "--env=Hopper-v5", *flags.split())
    assert outcome.code == 2
    name = next(word for word in re.findall(r"--(?:no(?=diagonal))?(\w+)", flags) if word not in ("alg", "perturbation"))
    assert_sentence(outcome.stderr, f"error: --{name} has no effect with {flags.split()[0]}: it goes with {where}")
    assert outcome.stdout == "" and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "flags",
    [
        "--alg=trpo --trust_radius=0.1",
        "--alg=pg --step_rule=trust_region --trust_radius=0.1",
        "--alg=pg --penalty=kl --kl_target=0.1",
        "--alg=ppo --trust_radius=0.01",
        "--alg=bges --distance=test_functions --inner_steps=3",
        "--alg=wtrpo --cg_iters=3",
        "--alg=npg --preconditioner=wasserstein_exact --cg_iters=3",
        "--alg=ppo --eval_episodes=3 --eval_interval=100 --eval_env=CartPole-v1",
        "--alg=ppo --eval_episodes=10",
        "--alg=wtrpo --radius_unit=absolute",
        "--alg=trpo --radius_unit=absolute --distance=wasserstein",
        "--alg=wnpg --embedding_length=5 --embedding=trajectory_actions",
        "--alg=wnes --embedding_length=5 --embedding=reward_to_go",
        "--alg=bg_wnpg --num_actions=5 --embedding=trajectory_actions",
        "--alg=es --num_hidden=5 --network=toeplitz",
    ],
)
def test_a_setting_with_an_effect_or_at_its_default_is_taken(flags, call, tmp_path):
    """What is wrong then is the folder, which is looked at last."""
    (tmp_path / "file").write_text("")
    outcome = call(run.app, f"--log_path={tmp_path / 'file' / 'run'}", "--env=Hopper-v5", *flags.split())
    assert outcome.code == 2 and "no effect" not in outcome.stderr


def test_a_flagfile_may_have_settings_for_other_algorithms(call, tmp_path, monkeypatch):
    (tmp_path / "all.flags").write_text("--trust_radius=0.1\n--num_basis=50\n--env=Hopper-v5\n--alg=ppo\n")
    (tmp_path / "file").write_text("")
    where = f"--log_path={tmp_path / 'file' / 'run'}"
    outcome = call(run.app, f"--flagfile={tmp_path / 'all.flags'}", where)
    assert outcome.code == 2 and "no effect" not in outcome.stderr
    outcome = call(run.app, f"--flagfile={tmp_path / 'all.flags'}", where, "--trust_radius=0.2")
    assert_sentence(outcome.stderr, "--trust_radius has no effect with --alg=ppo")
    monkeypatch.setenv("WNG_TF_UNUSED", "allow")  # as a sweep does
    outcome = call(run.app, f"--flagfile={tmp_path / 'all.flags'}", where, "--trust_radius=0.2")
    assert outcome.code == 2 and "no effect" not in outcome.stderr


@pytest.mark.parametrize("bad", BAD_FLAGS)
def test_bad_flags(bad, call, tmp_path):
    """Given to a run that would be fine without them."""
    folder = tmp_path / "run"
    outcome = call(run.app, f"--log_path={folder}", "--alg=ppo", "--env=Hopper-v5", *bad.split())
    assert outcome.code == 2
    assert_sentence(outcome.stderr, BAD_FLAGS[bad])
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_empty_is_left_alone(call, trained):
    folder = trained("ppo on CartPole")
    before = contents(folder)
    outcome = call(run.app, f"--log_path={folder}", "--alg=ppo", "--env=CartPole-v1")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, f"'{folder}' is not empty", "--resume", "another --log_path")
    assert contents(folder) == before


def test_resuming_with_other_flags_is_refused(call, trained):
    folder = trained("ppo on CartPole")
    before = contents(folder)
    outcome = call(run.app, f"--flagfile={folder / 'flags.txt'}", "--resume", "--gamma=0.5")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "--gamma=0.99, not --gamma=0.5", "another --log_path")
    assert contents(folder) == before


@pytest.mark.parametrize("damage", ["cut", "flipped"])
def test_a_damaged_checkpoint_is_named_and_nothing_else_is_touched(damage, call, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    newest = max((folder / "checkpoints").glob("checkpoint-*.npz"))
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data[:-20] if damage == "cut" else data)
    before = contents(folder)
    advice = [str(newest), "damaged", "delete it"]
    same_run = [f"--flagfile={folder / 'flags.txt'}", f"--log_path={folder}"]
    calls = [(run.app, [*same_run, "--resume"]), (evaluate.app, [f"--run={folder}"]), (export.app, [f"--run={folder}"])]
    for app, flags in calls:
        outcome = call(app, *flags)
        assert outcome.code == 2
        assert_sentence(outcome.stderr, *advice)
        assert contents(folder) == before


@pytest.mark.parametrize("kept", [slice(0, -5), slice(1, None)])
def test_a_monitor_file_that_lacks_lines_is_refused(kept, trained, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(trained("ppo on CartPole"), folder)
    monitor = folder / "0.monitor.csv"
    monitor.write_text("".join(monitor.read_text().splitlines(keepends=True)[kept]))
    with pytest.raises(UserError, match="cannot be continued: .*0.monitor.csv"):
        train("ppo on CartPole", folder, resume=True)


@pytest.mark.parametrize(
    ("env", "what"), [("NaNObservation-v0", "non-finite observation"), ("InfiniteReward-v0", "non-finite reward")]
)
def test_a_number_that_is_none_stops_the_run_and_keeps_the_last_checkpoint(env, what, call, tmp_path):
    folder = tmp_path / "run"
    flags = {**TINY, "alg": "ppo", "env": f"faulty_ids:{env}", "num_timesteps": 1000, "save_interval": 1}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=folder))
    assert outcome.code == 1
    assert_sentence(outcome.stderr, what, f"The last good checkpoint, of step 64, is in {folder / 'checkpoints'}.")
    assert checkpoint.latest_step(folder / "checkpoints") == 64
    assert not (folder / "summary.json").exists()
    outcome = call(evaluate.app, f"--run={folder}", "--episodes=1")
    assert outcome.code == 1
    assert_sentence(outcome.stderr, what, "episode 0")
    assert not (folder / "evaluation.json").exists()


def test_a_gradient_that_is_none_stops_the_run(call, tmp_path):
    folder = tmp_path / "run"
    flags = {**TINY, "alg": "ppo", "env": "CartPole-v1", "num_timesteps": 1000, "optimizer": "sgd", "lr": "1e38"}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=folder))
    assert outcome.code == 1
    assert_sentence(outcome.stderr, "No checkpoint was saved")
    assert re.search("log-probabilities are not finite|non-finite (loss|gradient|action)", outcome.stderr)


def test_a_killed_worker_stops_the_run_with_its_number_and_how_to_go_on(call, tmp_path):
    folder = tmp_path / "run"
    flags = {**TINY, "alg": "ppo", "env": "faulty_ids:Dying-v0", "num_timesteps": 1000, "save_interval": 1}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=folder, num_env=2, num_workers=2))
    assert outcome.code == 1
    last = "The last good checkpoint, of step 128,"
    # Both die in the same step; on a busy machine either may be seen first.
    assert re.search(r"worker [01] died \(exit code -9\)", outcome.stderr)
    assert_sentence(outcome.stderr, "--resume", last)


def test_ctrl_c_saves_and_says_how_to_continue(call, tmp_path):
    folder = tmp_path / "run"
    flags = {**TINY, "alg": "ppo", "env": "faulty_ids:CtrlC-v0", "num_timesteps": 1000, "save_interval": 0}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=folder))
    assert outcome.code == 130
    assert outcome.stderr == (
        "Stopping after this update; once more stops at once.\n"
        f"Stopped at step 128, saved. Continue with: python -m wng_tf.run --flagfile={folder}/flags.txt --resume\n"
    )
    assert checkpoint.latest_step(folder / "checkpoints") == 128


def test_a_full_disk_stops_the_run(call, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    save, saved = checkpoint.save, []

    def save_once(directory, step, *arguments, **settings):
        if saved:
            raise OSError(errno.ENOSPC, "No space left on device")
        saved.append(step)
        return save(directory, step, *arguments, **settings)

    monkeypatch.setattr(checkpoint, "save", save_once)
    flags = {**TINY, "alg": "ppo", "env": "CartPole-v1", "num_timesteps": 1000, "save_interval": 1}
    with uncompiled():
        outcome = call(run.app, *as_flags(**flags, log_path=folder))
    assert outcome.code == 1
    assert_sentence(outcome.stderr, "The disk is full", "The last good checkpoint, of step 64,")


def test_a_folder_that_cannot_be_made(call, tmp_path):
    (tmp_path / "file").write_text("")
    outcome = call(run.app, *as_flags(**TINY, alg="ppo", env="CartPole-v1", log_path=tmp_path / "file" / "run"))
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "Cannot write to", "another --log_path")


def test_a_space_that_is_refused_in_a_worker_is_bad_input_too(call, tmp_path):
    flags = {**TINY, "alg": "ppo", "env": "faulty_ids:ManyChoices-v0", "num_env": 2, "num_workers": 2}
    outcome = call(run.app, *as_flags(**flags, log_path=tmp_path / "run"))
    assert outcome.code == 2
    assert_sentence(outcome.stderr, "Box, Discrete, MultiDiscrete or MultiBinary")
    assert list(tmp_path.iterdir()) == []


BAD_CALLS = [
    (evaluate.app, "", "--run is missing"),
    (export.app, "", "--run is missing"),
    (evaluate.app, "--run=nowhere", "There is no run in 'nowhere'"),
    (export.app, "--run=nowhere", "There is no run in 'nowhere'"),
    (evaluate.app, "--run={run} --which=newest", "latest, best, or the step"),
    (evaluate.app, "--run={run} --which=7", "there are checkpoints of steps: 64, 128"),
    (evaluate.app, "--run={run} --episodes=0", "--episodes must be at least 1"),
    (evaluate.app, "--run={run} --seed=-1", "--seed must not be negative"),
    (evaluate.app, "--run={run} --video=film.avi", ".mp4 or a .gif"),
    (evaluate.app, "--run={run} --video=nowhere/film.gif", "no folder 'nowhere'"),
    (evaluate.app, "--run={run} --video=film.gif --video_episodes=0", "--video_episodes must be at least 1"),
    (evaluate.app, "--run={run} --video_episodes=2", "--video_episodes has no effect: it goes with --video. Leave it out."),
    (evaluate.app, "--run={run} --overwrite", "--overwrite has no effect: it goes with --output. Leave it out."),
    (run.app, "--play_episodes=2", "--play_episodes has no effect: it goes with --play. Leave it out."),
    (export.app, "--run={run} --output={run}", "holds something else than a SavedModel"),
    (export.app, "--run={run} --output={run}/flags.txt", "is a file"),
]


@pytest.mark.parametrize(("app", "flags", "advice"), BAD_CALLS)
def test_bad_flags_of_evaluate_and_export(app, flags, advice, call, trained, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    folder = trained("ppo on CartPole")
    before = contents(folder)
    outcome = call(app, *flags.format(run=folder).split())
    assert outcome.code == 2
    assert_sentence(outcome.stderr, advice)
    assert contents(folder) == before and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["imageio", "imageio_ffmpeg"])
def test_a_missing_extra_says_what_to_install(package, call, trained, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, package, None)
    outcome = call(evaluate.app, f"--run={trained('ppo on CartPole')}", f"--video={tmp_path / 'film.mp4'}")
    assert outcome.code == 2
    assert_sentence(outcome.stderr, f"needs the package {package}", "pip install 'imageio[ffmpeg]'")


def test_a_folder_whose_flags_name_no_algorithm(tmp_path):
    (tmp_path / "flags.txt").write_text("--env=Hopper\n")
    with pytest.raises(UserError, match="has no --alg"):
        saved_policy.load(tmp_path)


def test_ctrl_c_before_the_run_begins(call):
    def app():
        cli.run_app(lambda argv: (_ for _ in ()).throw(KeyboardInterrupt))

    outcome = call(app)
    assert (outcome.code, outcome.stderr) == (130, "error: interrupted.\n")


def test_arguments_that_are_not_flags_go_to_who_wants_them(call):
    got = []
    outcome = call(lambda: cli.run_app(lambda argv: got.extend(argv[1:]), positionals=True), "one", "two")
    assert outcome.code == 0 and got == ["one", "two"]


@pytest.mark.parametrize("app", [run.app, evaluate.app, export.app, sweep.app, plot.app, tune.app])
def test_every_command_says_its_version(app, call):
    outcome = call(app, "--version")
    assert (outcome.code, outcome.stdout, outcome.stderr) == (0, f"wng_tf {wng_tf.__version__}\n", "")


def test_the_version_is_that_of_the_package():
    assert importlib.metadata.version("wng_tf") == wng_tf.__version__
