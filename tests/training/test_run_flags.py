"""`flags.txt` and the roles of flags: what is written is read, and what changes no number may change."""

from __future__ import annotations

import dataclasses

import pytest

from wng_tf import families
from wng_tf.training import run_flags
from wng_tf.training.settings import operational, setting


def test_what_is_written_is_read():
    texts = {"alg": "ppo", "lr": "linear:3e-4", "log_path": "a=b"}
    values = {**texts, "gamma": 0.1 + 0.2, "normalize_rewards": False, "network": None}
    read = run_flags.parse(run_flags.lines(run_flags.text(values)))
    assert read == {**texts, "gamma": repr(0.1 + 0.2), "normalize_rewards": "false"}


@pytest.mark.parametrize(
    ("line", "read"),
    [
        ("--normalize_rewards", {"normalize_rewards": "True"}),
        ("--nonormalize_rewards", {"normalize_rewards": "False"}),
        ("-adaptive_radius", {"adaptive_radius": "True"}),
        ("--lr=", {"lr": ""}),
        ("--preconditioner=fisher", {"metric": "fisher_empirical"}),
    ],
)
def test_forms_of_a_flag(line, read):
    assert run_flags.parse([line], known=families.settings()) == read


def test_later_lines_win_as_in_a_flagfile():
    assert run_flags.parse(["--lr=1", "--lr=2"]) == {"lr": "2"}


@dataclasses.dataclass(frozen=True)
class Settings:
    rate: float = setting(0.1, "of learning")
    pause: float = setting(0.0, "between updates", role="operational")


def test_operational_settings_may_change_and_are_beside_the_numbers():
    assert operational(Settings) == {"pause"}
    assert "pause" in run_flags.beside_the_numbers(Settings) and "pause" not in run_flags.beside_the_numbers()
    may_change = run_flags.may_change_on_resume(Settings)
    assert {"pause", "log_path", "num_timesteps"} <= may_change
    assert not may_change & {"rate", "alg", "env", "seed", "network"}
