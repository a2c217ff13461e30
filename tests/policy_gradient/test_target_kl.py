"""`--target_kl` ends the epochs of an update; and rates that change over a run, as text and as functions."""

from __future__ import annotations

import functools

import numpy as np
import pytest
from short_runs import TINY, uncompiled

from baselines_compat.schedules import parse_schedule
from wng_tf.errors import UserError
from wng_tf.evolution.learn import learn as evolve
from wng_tf.policy_gradient.learn import learn
from wng_tf.training import run_folder
from wng_tf.training.schedules import ScheduledNumber, as_text, function, number_setting

SETTINGS = {**TINY, "nsteps": 32, "noptepochs": 6, "total_timesteps": 96, "progress": False, "env": "CartPole-v1"}
MINIBATCH = ("pg", "ppo", "ppo_kl", "bgpg", "npg", "wnpg", "bg_wnpg")


def halved(fraction: float) -> float:
    return 0.01 * fraction


def told(alg: str, **given):
    seen = []

    def note(local) -> None:
        rate = float(local["learner"].optimizer.learning_rate)
        seen.append((local["learner"].theta.numpy(), local["report"], rate))

    with uncompiled():
        learn(alg=alg, callback=note, **{**SETTINGS, **given})
    return seen


@pytest.mark.parametrize("alg", MINIBATCH)
def test_epochs_end_where_the_divergence_is_above_the_target(alg):
    """A target that nothing reaches changes no bit; one that the first epoch passes leaves what a single epoch does."""
    given = {"lr": "1e-3", "total_timesteps": 32, "env": "held_envs:Drift"}
    none, far, near = (told(alg, target_kl=target, **given)[0] for target in (None, 1e9, 1e-12))
    assert np.array_equal(none[0], far[0])
    assert "misc/epochs" not in none[1]
    assert (far[1]["misc/epochs"], near[1]["misc/epochs"]) == (6, 1)
    assert far[1]["loss/approxkl"] == none[1]["loss/approxkl"]
    single = told(alg, noptepochs=1, **given)[0]
    if alg in ("pg", "ppo", "ppo_kl"):  # the draws of the others depend on how many epochs there may be
        assert np.array_equal(near[0], single[0])
        assert near[1]["loss/approxkl"] == single[1]["loss/approxkl"]
        assert near[1]["loss/value_loss"] == single[1]["loss/value_loss"]


def test_the_epochs_taken_are_those_up_to_the_first_beyond_the_target():
    """By the mean divergence of each epoch, had from runs of one, two, ... epochs."""
    sums = [0.0]
    for epochs in range(1, 7):
        report = told("ppo", lr="1e-2", noptepochs=epochs, total_timesteps=32)[0][1]
        sums.append(report["loss/approxkl"] * epochs)
    means = np.diff(sums)
    taken = set()
    for low, high in zip(np.sort(means)[:-1], np.sort(means)[1:], strict=True):
        target = (low + high) / 2
        expected = int(np.argmax(means > target)) + 1
        report = told("ppo", lr="1e-2", target_kl=float(target), total_timesteps=32)[0][1]
        assert report["misc/epochs"] == expected
        assert report["loss/approxkl"] * expected == pytest.approx(sums[expected], rel=1e-5)
        taken.add(expected)
    assert len(taken) > 1


@pytest.mark.parametrize(
    ("given", "text", "at_half"),
    [
        (0.25, "0.25", 0.25),
        ("0.25", "0.25", 0.25),
        ("linear:0.2", "linear:0.2", 0.1),
        ("linear:0.2:0.1", "linear:0.2:0.1", 0.15),
        (parse_schedule("linear:0.4"), "linear:0.4", 0.2),
        (halved, f"{__name__}:halved", 0.005),
        (lambda fraction: 0.3, "object(<lambda>)", 0.3),
        (functools.partial(pow, 0.5), "object(partial)", 0.5**0.5),
    ],
)
def test_rates_as_people_give_them(given, text, at_half):
    rate, number = as_text(given), number_setting("cliprange")(given)
    assert str(rate) == str(number) == text
    assert function("lr", rate)(0.5) == pytest.approx(at_half)
    assert function("cliprange", number)(0.5) == pytest.approx(at_half)
    assert isinstance(number, ScheduledNumber) == (text != "0.25")


@pytest.mark.parametrize("alg", ["ppo", "trpo"])
def test_learning_rate_and_clip_range_change_over_the_run(alg, tmp_path):
    clipped = {"surrogate": "clipped", "cliprange": "linear:0.03"} if alg == "trpo" else {"cliprange": "linear:0.03"}
    folder = tmp_path / "run"
    seen = told(alg, lr=lambda fraction: 3e-2 * fraction, log_path=folder, **clipped)
    assert [rate for *_, rate in seen] == pytest.approx([3e-2, 2e-2, 1e-2])
    flags = run_folder.flag_values(folder)
    assert (flags["lr"], flags["cliprange"]) == ("object(<lambda>)", "linear:0.03")
    rows = (folder / "progress.csv").read_text().splitlines()
    place = rows[0].split(",").index("misc/cliprange")
    assert [float(row.split(",")[place]) for row in rows[1:]] == pytest.approx([0.03, 0.02, 0.01], rel=1e-4)
    text = told(alg, lr="linear:3e-2", **clipped)
    assert np.array_equal(text[-1][0], seen[-1][0])
    if alg == "ppo":
        assert not np.array_equal(told(alg, lr="linear:3e-2", cliprange=0.03)[-1][0], seen[-1][0])


def test_a_clip_range_that_stays_is_the_same_as_a_schedule_or_a_number():
    number, schedule = (told("ppo", lr="1e-2", cliprange=clip)[-1][0] for clip in (0.05, lambda fraction: 0.05))
    np.testing.assert_allclose(number, schedule, rtol=1e-4, atol=1e-6)


def test_evolution_strategies_take_functions_too():
    rates = []
    evolve(
        env="CartPole-v1", alg="es", lr=halved, total_timesteps=300, population=2, num_hidden=4, horizon=10, progress=False,
        callback=lambda p, r: rates.append((p.steps, r.diagnostics["misc/lr"])),
    )  # fmt: skip
    before = [0, *(steps for steps, _ in rates[:-1])]
    assert [rate for _, rate in rates] == pytest.approx([0.01 * (1 - steps / 300) for steps in before])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"lr": "fast"}, "--lr: 'fast' is not a schedule"),
        ({"lr": "no_such_module:rate"}, "--lr=no_such_module:rate: module"),
        ({"lr": "object(rate)"}, "give it again"),
        ({"lr": lambda fraction: -1.0}, "gave -1.0 at fraction 1"),
        ({"lr": lambda fraction: 1 / 0}, "failed at fraction 1: ZeroDivisionError"),
        ({"cliprange": "wide"}, "--cliprange: 'wide' is not a schedule"),
        ({"cliprange": "linear:0"}, "--cliprange must be above 0.0"),
        ({"target_kl": 0.0}, "--target_kl must be above 0.0"),
    ],
)
def test_what_is_no_rate_is_refused(given, message):
    with pytest.raises(UserError, match=message):
        told("ppo", **given)
