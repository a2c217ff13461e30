from __future__ import annotations

import json
import os
import time

import gymnasium
import numpy as np
import pytest

from baselines_compat.monitor import (
    LoadMonitorResultsError,
    Monitor,
    ResultsWriter,
    get_monitor_files,
    load_results,
)


class Countdown(gymnasium.Env):
    """Episodes of a given length; the reward of step k is k / 10; odd episodes are truncated."""

    observation_space = gymnasium.spaces.Box(-1, 1, (1,))
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length=3):
        self.length, self.episode, self.arguments = length, -1, []

    def reset(self, *, seed=None, options=None, **kwargs):
        super().reset(seed=seed)
        self.arguments.append({"seed": seed, "options": options, **kwargs})
        self.step_number, self.episode = 0, self.episode + 1
        return np.zeros(1, np.float32), {}

    def step(self, action):
        self.step_number += 1
        over = self.step_number == self.length
        ended = (over and self.episode % 2 == 0, over and self.episode % 2 == 1)
        return (
            np.zeros(1, np.float32),
            self.step_number / 10,
            *ended,
            {"level": self.episode, "action": action},
        )


def play(env) -> dict:
    """One episode; the last info."""
    env.reset()
    while True:
        _, _, terminated, truncated, info = env.step(0)
        if terminated or truncated:
            return info


def test_the_file_is_baselines(tmp_path):
    before = time.time()
    env = Monitor(gymnasium.make("CartPole-v1"), tmp_path / "0")
    env.reset(seed=1)
    info = {}
    while "episode" not in info:
        info = env.step(0)[-1]
    env.close()
    header, columns, row = (tmp_path / "0.monitor.csv").read_text().splitlines()
    assert header.startswith("#")
    header = json.loads(header[1:])
    assert before <= header["t_start"] <= time.time()
    assert header["env_id"] == "CartPole-v1"
    assert columns == "r,l,t"
    assert row == "{r},{l},{t}".format(**info["episode"])


def test_each_episode_is_recorded_with_return_length_and_time(tmp_path):
    env = Monitor(Countdown(3), tmp_path / "0", info_keywords=("level",))
    infos = [play(env) for _ in range(3)]
    assert [info["episode"]["r"] for info in infos] == [0.6, 0.6, 0.6]
    assert [info["level"] for info in infos] == [0, 1, 2]
    table = load_results(tmp_path)
    assert list(table.r) == [0.6, 0.6, 0.6]
    assert list(table.l) == [3, 3, 3]
    assert list(table.level) == [0, 1, 2]
    assert np.all(np.diff(table.t) >= 0)
    assert env.get_total_steps() == 9
    assert env.get_episode_rewards() == pytest.approx([0.6] * 3)
    assert env.get_episode_lengths() == [3] * 3
    assert np.round(env.get_episode_times(), 6).tolist() == table.t.tolist()
    env.close()


def test_without_a_file_only_info_tells(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    env = Monitor(Countdown(2), None)
    assert play(env)["episode"]["l"] == 2
    env.close()
    assert os.listdir(tmp_path) == []


def test_no_episode_in_info_before_the_end():
    env = Monitor(Countdown(2), None)
    env.reset()
    assert "episode" not in env.step(0)[-1]


def test_early_resets_are_refused_unless_allowed(tmp_path):
    env = Monitor(Countdown(3), tmp_path / "0")
    env.reset()
    env.step(0)
    with pytest.raises(RuntimeError, match="allow_early_resets=True"):
        env.reset()
    env.close()
    env = Monitor(Countdown(3), tmp_path / "1", allow_early_resets=True)
    env.reset()
    env.step(0)
    play(env)
    env.close()
    assert list(load_results(tmp_path).l) == [3]


def test_a_step_after_the_end_is_refused():
    env = Monitor(Countdown(1), None)
    with pytest.raises(RuntimeError, match="reset the environment"):
        env.step(0)
    play(env)
    with pytest.raises(RuntimeError, match="reset the environment"):
        env.step(0)


def test_reset_passes_everything_on_and_records_its_keywords(tmp_path):
    env = Monitor(Countdown(1), tmp_path / "0", reset_keywords=("goal", "size"))
    with pytest.raises(ValueError, match="keyword 'goal'"):
        env.reset(seed=3)
    for goal in (5, 6):
        env.reset(seed=3, options={"size": 7}, goal=goal)
        env.step(0)
    env.close()
    assert env.unwrapped.arguments == [{"seed": 3, "options": {"size": 7}, "goal": goal} for goal in (5, 6)]
    table = load_results(tmp_path)
    assert table.columns == ["r", "l", "t", "goal", "size"]
    assert list(table.goal) == [5, 6]
    assert list(table["size"]) == [7, 7]


def test_names_of_files(tmp_path):
    (tmp_path / "folder").mkdir()
    for name, made in {
        "0": "0.monitor.csv",
        "1.monitor.csv": "1.monitor.csv",
        "folder": "folder/monitor.csv",
        "new/3": "new/3.monitor.csv",
    }.items():
        ResultsWriter(tmp_path / name).close()
        assert (tmp_path / made).read_text() == "#{}\nr,l,t\n"
    assert [os.path.basename(file) for file in get_monitor_files(tmp_path)] == [
        "0.monitor.csv",
        "1.monitor.csv",
    ]


def test_rows_are_on_the_disk_at_once_and_counted(tmp_path):
    writer = ResultsWriter(tmp_path / "0", {"t_start": 0.0, "env_id": "X"}, ("goal",))
    writer.write_row({"r": 1.5, "l": 2, "t": 0.25, "goal": "left"})
    assert (tmp_path / "0.monitor.csv").read_text().splitlines()[2:] == ["1.5,2,0.25,left"]
    assert writer.rows == 1
    with pytest.raises(ValueError, match="color"):
        writer.write_row({"r": 1, "l": 2, "t": 3, "color": "red"})
    assert writer.rows == 1
    writer.close()


# Resuming.


def record(path, episodes, resume_rows=None, t_start=100.0):
    writer = ResultsWriter(path, {"t_start": t_start, "env_id": "X"}, resume_rows=resume_rows)
    for number in episodes:
        writer.write_row({"r": number, "l": 1, "t": number})
    writer.close()
    return writer


def test_resuming_gives_the_file_of_an_uninterrupted_run(tmp_path):
    record(tmp_path / "whole", range(6))
    record(tmp_path / "resumed", range(4))
    with open(tmp_path / "resumed.monitor.csv", "a") as file:
        file.write("4,1")  # torn by the kill
    writer = record(tmp_path / "resumed", range(2, 6), resume_rows=2, t_start=200.0)
    assert writer.rows == 6
    assert writer.header["t_start"] == 100.0
    assert (tmp_path / "resumed.monitor.csv").read_bytes() == (tmp_path / "whole.monitor.csv").read_bytes()


def test_without_resuming_the_file_is_replaced(tmp_path):
    record(tmp_path / "0", range(4))
    record(tmp_path / "0", [])
    assert len(load_results(tmp_path)) == 0


def test_resuming_a_run_that_had_no_episode_yet(tmp_path):
    record(tmp_path / "0", [])
    assert record(tmp_path / "0", [7], resume_rows=0).rows == 1
    assert list(load_results(tmp_path).r) == [7]


def test_resuming_a_run_whose_file_was_deleted(tmp_path):
    assert record(tmp_path / "0", [7], resume_rows=5).rows == 1
    assert list(load_results(tmp_path).r) == [7]


def test_resuming_a_file_that_lost_episodes_is_an_error_and_keeps_it(tmp_path):
    record(tmp_path / "0", range(2))
    before = (tmp_path / "0.monitor.csv").read_bytes()
    with pytest.raises(ValueError, match="has 2 of the 3 episodes that were recorded: restore it, or delete it"):
        record(tmp_path / "0", [], resume_rows=3)
    with pytest.raises(ValueError, match="has the columns"):
        ResultsWriter(tmp_path / "0", extra_keys=("goal",), resume_rows=1)
    assert (tmp_path / "0.monitor.csv").read_bytes() == before


def test_a_monitor_resumes_with_time_counted_from_the_first_start(tmp_path):
    record(tmp_path / "0", range(3), t_start=time.time() - 1000.0)
    env = Monitor(Countdown(2), tmp_path / "0", resume_rows=1)
    seconds = play(env)["episode"]["t"]
    env.close()
    assert 1000.0 <= seconds < 1100.0
    table = load_results(tmp_path)
    assert list(table.r) == [0, 0.3]


# Reading.


def test_load_results_orders_the_episodes_of_all_files(tmp_path):
    for name, t_start, episodes in (("0", 100.0, [(1, 5.0), (2, 30.0)]), ("1", 110.0, [(3, 1.0), (4, 10.0)])):
        writer = ResultsWriter(tmp_path / name, {"t_start": t_start, "env_id": name})
        for reward, seconds in episodes:
            writer.write_row({"r": reward, "l": 1, "t": seconds})
        writer.close()
    table = load_results(tmp_path)
    assert list(table.r) == [1, 3, 4, 2]
    assert list(table.t) == [5.0, 11.0, 20.0, 30.0]
    assert [header["env_id"] for header in table.headers] == ["0", "1"]


def test_load_results_reads_baselines_own_files(tmp_path):
    (tmp_path / "0.monitor.csv").write_text('# {"t_start": 1.5, "env_id": "Hopper-v2"} \nr,l,t\r\n1.25,2,0.5\r\n')
    table = load_results(tmp_path)
    assert (list(table.r), list(table.l), list(table.t)) == ([1.25], [2], [0.5])


def test_load_results_without_files(tmp_path):
    with pytest.raises(LoadMonitorResultsError, match=r"No files named \*monitor.csv"):
        load_results(tmp_path)


def test_load_results_of_something_else(tmp_path):
    (tmp_path / "0.monitor.csv").write_text("r,l,t\n")
    with pytest.raises(LoadMonitorResultsError, match="does not begin with a monitor header"):
        load_results(tmp_path)


@pytest.mark.parametrize("flag", [np.bool_, np.array, lambda over: np.array([over]), int])
def test_an_end_is_seen_however_it_is_written_and_without_an_info(tmp_path, flag):
    class Odd(Countdown):
        def step(self, action):
            observation, reward, terminated, truncated, _ = super().step(action)
            return observation, np.array([reward]), flag(terminated), flag(truncated), None

    with Monitor(Odd(), tmp_path / "0") as env:
        assert play(env)["episode"]["r"] == play(env)["episode"]["r"] == pytest.approx(0.6)
    assert list(load_results(tmp_path).l) == [3, 3]


def test_whatever_an_info_holds_is_one_line_and_headers_hold_numpy_numbers(tmp_path):
    class Rich(Countdown):
        def step(self, action):
            *rest, _ = super().step(action)
            return *rest, {"array": np.arange(100), "text": 'a,b\n"c"\r\nd', "none": None, "float": np.float32(0.5)}

    with Monitor(Rich(), tmp_path / "0", info_keywords=("array", "text", "none", "float")) as env:
        play(env), play(env)
    with Monitor(Rich(), tmp_path / "0", info_keywords=("array", "text", "none", "float"), resume_rows=2) as env:
        play(env)
    table = load_results(tmp_path)
    assert len(table) == 3
    assert list(table.text) == ['a,b "c" d'] * 3 and list(table.float) == [0.5] * 3
    ResultsWriter(tmp_path / "1", {"t_start": np.float32(2), "n": np.int64(3), "path": tmp_path}).close()
    assert load_results(tmp_path).headers[1] == {"t_start": 2.0, "n": 3, "path": str(tmp_path)}
