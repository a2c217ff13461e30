"""Files that lost something: what is whole is read, what is not is named."""

from __future__ import annotations

import contextlib
import json
import struct
import warnings

import numpy as np
import pytest

from baselines_compat import logger, plot_util
from baselines_compat.monitor import LoadMonitorResultsError, ResultsWriter, load_results
from baselines_compat.table import read_csv, read_json
from baselines_compat.whole_rows import DamagedFileWarning

HEADER = b'#{"t_start": 1.0}\n'
MONITORS = {
    "empty": (b"", None),
    "header alone": (HEADER, []),
    "header and names": (HEADER + b"r,l,t\n", []),
    "names glued to a row": (HEADER + b"r,l,t-21.0,792,63.4\n-22.0,819,96.5\n", [-22]),
    "names lost": (HEADER + b"1,2,3\n4,5,6\n", [4]),
    "half a header": (b'#{"t_st\nr,l,t\n1,2,3\n', [1]),
    "half a row at the end": (HEADER + b"r,l,t\n1,2,3\n4,5", [1]),
    "half a row inside": (HEADER + b"r,l,t\n1,2,3\n4,5\n7,8,9\n", [1, 7]),
    "glued rows": (HEADER + b"r,l,t\n1,2,34,5,6\n7,8,9\n", [7]),
    "empty lines": (HEADER + b"\nr,l,t\n\n1,2,3\n\n\n4,5,6\n", [1, 4]),
    "names twice": (HEADER + b"r,l,t\n1,2,3\nr,l,t\n4,5,6\n", [1, 4]),
    "not UTF-8": (HEADER + b"r,l,t\n1,2,3\n\xff,2,3\n4,5,6\n", [1, 4]),
    "null bytes": (HEADER + b"r,l,t\n1,2,3\n\0\0\0\n4\0,5,6\n7,8,9\n", [1, 7]),
    "no number": (HEADER + b"r,l,t\n1,2,3\n4,x,6\n7,8,9\n", [1, 7]),
    "names glued to the header": (b'#{"t_start": 1.0}r,l,t\n1,2,3\n4,5,6\n', [1, 4]),
    "header lost": (b"r,l,t\n1,2,3\n4,5,6\n", [1, 4]),
    "a row of nothing": (HEADER + b"r,l,t\n1,2,3\n,,\n4,5,6\n", [1, 4]),
    "Windows": (b"\xef\xbb\xbf" + (HEADER + b"r,l,t\n1,2,3\n4,5,6\n").replace(b"\n", b"\r\n"), [1, 4]),
}
SOUND = {"header and names", "names glued to the header", "empty lines", "Windows"}


def quiet_or_named(name: str, caught: list[warnings.WarningMessage], path) -> None:
    assert bool(caught) == (name not in SOUND)
    assert all(issubclass(w.category, DamagedFileWarning) and str(path) in str(w.message) for w in caught)


@pytest.mark.parametrize("name", MONITORS)
def test_monitor_files(name, tmp_path):
    data, returns = MONITORS[name]
    (tmp_path / "0.monitor.csv").write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if returns is None:
            with pytest.raises(LoadMonitorResultsError, match="0.monitor.csv"):
                load_results(tmp_path)
        else:
            assert list(load_results(tmp_path).r) == returns
            quiet_or_named(name, caught, tmp_path)


@pytest.mark.parametrize("name", MONITORS)
def test_the_good_runs_and_environments_are_loaded(name, tmp_path):
    data, returns = MONITORS[name]
    for file in ("good/0", "bad/1"):
        writer = ResultsWriter(tmp_path / file, {"t_start": 1.0})
        writer.write_row({"r": 10.0, "l": 2, "t": 3.0})
        writer.close()
    (tmp_path / "bad" / "0.monitor.csv").write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        bad, good = plot_util.load_results(tmp_path)
    assert list(good.monitor.r) == [10.0]
    assert sorted(bad.monitor.r) == sorted([10.0, *(returns or [])])
    quiet_or_named(name, caught, tmp_path / "bad")


def test_times_are_in_order_where_a_header_lost_its_start(tmp_path):
    (tmp_path / "0.monitor.csv").write_text('#{"t_start": 1700000000.0}\nr,l,t\n1,2,3\n')
    (tmp_path / "1.monitor.csv").write_text('#{"t_st\nr,l,t\n4,5,6\n')
    with pytest.warns(DamagedFileWarning):
        assert list(load_results(tmp_path).t) == [3, 6]


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b\n1,2\n3,4\n", [1, 3]),
        (b"", []),
        (b"a,b\n", []),
        (b"a,b\n1,2\n3\n5,6\n", [1, 5]),
        (b"a,b\n1,23,4\n5,6\n", [1, 5]),
        (b"a,b\n1,23,4,5\n5,6\n", [5]),
        (b"\xef\xbb\xbfa,b\r\n1,2\r\n\r\na,b\r\n3,4\r\n", [1, 3]),
        (b"a,b\n1,2\n\x80,1\n3,4\n5,", [1, 3]),
    ],
)
def test_progress_csv(data, rows, tmp_path):
    (tmp_path / "progress.csv").write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DamagedFileWarning)
        table = read_csv(tmp_path / "progress.csv")
    if rows == [1, 5] and b"1,23,4\n" in data:
        rows = [5]  # three cells below two names
    assert list(table.get("a", [])) == rows


def test_progress_json(tmp_path):
    good = [json.dumps({"a": i}).encode() for i in range(6)]
    lines = [good[0], b"", good[1] + good[2], b"\xff", b'{"a": ', b"[1]", b"\0", good[3] + b"\r", good[4][:-1], good[5]]
    (tmp_path / "progress.json").write_bytes(b"\n".join(lines))
    with pytest.warns(DamagedFileWarning, match=r"progress.json' is damaged: 5 lines left out \(4, 5, 6, 7, 9\)"):
        assert list(read_json(tmp_path / "progress.json").a) == [0, 1, 2, 3, 5]


def test_a_log_in_one_format_stands_for_the_other(tmp_path):
    (tmp_path / "progress.json").write_bytes(b"")
    (tmp_path / "progress.csv").write_text("a\n1\n")
    (tmp_path / "summary.json").write_text('{"status": ')
    with pytest.warns(DamagedFileWarning, match="summary.json"):
        (result,) = plot_util.load_results(tmp_path)
    assert list(result.progress.a) == [1] and result.metadata is None


@pytest.mark.parametrize("where", ["length", "event", "end"])
def test_event_files(where, tmp_path):
    logger.configure(tmp_path, ["tensorboard"])
    for step in (1, 2, 3):
        logger.logkvs({"misc/total_timesteps": step, "a": 10.0 * step})
        logger.dumpkvs()
    logger.reset()
    (file,) = (tmp_path / "tb").iterdir()
    data, starts, at = bytearray(file.read_bytes()), [], 0
    while at < len(data):
        starts.append(at)
        at += 16 + struct.unpack_from("<Q", data, at)[0]
    if where == "end":
        file.write_bytes(data[:-3])
        assert list(logger.read_tb(tmp_path / "tb").a) == [10.0, 20.0]
        return
    data[starts[2] + (0 if where == "length" else 20)] ^= 0xFF
    file.write_bytes(data)
    with pytest.warns(DamagedFileWarning, match="tfevents"):
        table = logger.read_tb(tmp_path / "tb")
    np.testing.assert_array_equal(table.a, [10.0] if where == "length" else [10.0, 30.0])


def test_a_column_beside_the_numbers_of_an_episode_may_hold_anything(tmp_path):
    with contextlib.closing(ResultsWriter(tmp_path / "0", extra_keys=("level",))) as writer:
        for level in (1, 2, "the last\none", None, 4):
            writer.write_row({"r": 1.0, "l": 2, "t": 3.0, "level": level})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(load_results(tmp_path).level) == ["1", "2", "the last one", "", "4"]
    ResultsWriter.check_resume(tmp_path / "0", 5, extra_keys=("level",))


def test_a_log_whose_rows_are_all_damaged_is_not_continued_as_if_it_had_none(tmp_path):
    (tmp_path / "progress.csv").write_text("a,misc/total_timesteps\n1,23,4\n1,4\n")
    with pytest.raises(ValueError, match="progress.csv' has 0 of the 2 rows"):
        logger.check_resume(tmp_path, ["csv"], ("misc/total_timesteps", 4), rows=2)


def test_a_log_that_is_not_text_is_named_on_resumption(tmp_path):
    (tmp_path / "progress.csv").write_bytes(b"a,misc/total_timesteps\n\xff,2\n")
    with pytest.raises(ValueError, match="progress.csv' is damaged"):
        logger.check_resume(tmp_path, ["csv"], ("misc/total_timesteps", 2))
