from __future__ import annotations

import contextlib
import io
import json
import math
import os
import re
import subprocess
import sys
import types
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from baselines_compat import logger

STEPS = "misc/total_timesteps"


@pytest.fixture(autouse=True)
def no_logger_left_over(monkeypatch):
    monkeypatch.setattr(logger.Logger, "CURRENT", None)
    monkeypatch.setattr(logger.Logger, "DEFAULT", None)
    monkeypatch.delenv("OPENAI_LOGDIR", raising=False)
    monkeypatch.delenv("OPENAI_LOG_FORMAT", raising=False)


@contextlib.contextmanager
def writing(fmt):
    try:
        yield fmt
    finally:
        fmt.close()


def dump(folder, rows, formats, **configuration):
    with logger.scoped_configure(folder, formats, **configuration):
        for row in rows:
            logger.logkvs(row)
            logger.dumpkvs()


def strict_json(line: str) -> dict:
    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    return json.loads(line, parse_constant=refuse)


# The table.


def printed(kvs) -> str:
    out = io.StringIO()
    logger.HumanOutputFormat(out).writekvs(kvs)
    return out.getvalue()


def test_the_table_is_boxed_as_in_baselines():
    table = printed({"misc/nupdates": 1, "eprewmean": np.float32(1234.5), "Alg": "ppo", "fps": math.nan})
    assert table == (
        "----------------------------\n"
        "| Alg           | ppo      |\n"
        "| eprewmean     | 1.23e+03 |\n"
        "| fps           | nan      |\n"
        "| misc/nupdates | 1        |\n"
        "----------------------------\n"
    )


def test_the_table_truncates_to_30_characters_and_loses_no_row():
    alike = "loss/a_name_that_is_rather_long_and_ends_in_"
    table = printed({alike + "a": 1, alike + "b": 2, "text": "x" * 31, "fits": "y" * 30})
    assert table.count("| loss/a_name_that_is_rather_... |") == 2
    assert "| " + "x" * 27 + "... |" in table
    assert "| " + "y" * 30 + " |" in table


def test_human_format_leaves_a_file_that_it_was_given_open():
    out = io.StringIO()
    fmt = logger.HumanOutputFormat(out)
    fmt.writeseq(["one", 2])
    fmt.close()
    assert out.getvalue() == "one 2\n"


def test_human_format_refuses_what_is_neither_a_path_nor_a_file():
    with pytest.raises(TypeError, match="file name or a file, got 3"):
        logger.HumanOutputFormat(3)


# csv.


def test_csv_has_sorted_columns_full_precision_and_empty_cells(tmp_path):
    row = {"b": np.float32(0.1), "a": math.nan, "c": 7, "d": None, "e": np.array([1 / 3])}
    row |= {"f": "x,y", "g": math.inf, "i": Fraction(1, 4)}
    dump(tmp_path, [row], ["csv"])
    assert (tmp_path / "progress.csv").read_text() == (
        'a,b,c,d,e,f,g,i\n,0.10000000149011612,7,,0.3333333333333333,"x,y",inf,0.25\n'
    )


def test_csv_widens_its_header_for_keys_that_appear_later(tmp_path):
    dump(tmp_path, [{"m": 1}, {"m": 2, "z": 3, "a": 4}, {"z": 5}], ["csv"])
    assert (tmp_path / "progress.csv").read_text() == "m,a,z\n1,,\n2,4,3\n,,5\n"


def test_csv_is_whole_when_widening_it_is_interrupted(tmp_path, monkeypatch):
    fmt = logger.CSVOutputFormat(tmp_path / "progress.csv")
    fmt.writekvs({"a": 1})
    before = (tmp_path / "progress.csv").read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        fmt.writekvs({"a": 2, "b": 3})
    assert (tmp_path / "progress.csv").read_bytes() == before
    assert os.listdir(tmp_path) == ["progress.csv"]


def test_each_row_is_on_the_disk_at_once(tmp_path):
    logger.configure(tmp_path, ["csv", "json", "log", "tensorboard"])
    logger.logkvs({STEPS: 5, "a": 1.5})
    logger.dumpkvs()
    assert logger.read_csv(tmp_path / "progress.csv").a == [1.5]
    assert logger.read_json(tmp_path / "progress.json").a == [1.5]
    assert logger.read_tb(tmp_path / "tb").a == [1.5]
    assert "| a                    | 1.5      |" in (tmp_path / "log.txt").read_text()
    logger.Logger.CURRENT.close()


names = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]), min_size=1, max_size=8)
numbers = st.one_of(st.integers(-(2**53), 2**53), st.floats(), st.floats(width=32).map(np.float32), st.just(None))


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.dictionaries(names, numbers, min_size=1, max_size=5), min_size=1, max_size=6))
def test_csv_and_json_return_every_number_that_was_written(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("round_trip")
    dump(folder, rows, ["csv", "json"])
    keys = {key for row in rows for key in row}
    from_csv, from_json = logger.read_csv(folder / "progress.csv"), logger.read_json(folder / "progress.json")
    assert set(from_csv.columns) == set(from_json.columns) == keys
    assert len(from_csv) == len(from_json) == len(rows)
    for key in keys:
        written = np.array([math.nan if row.get(key) is None else float(row[key]) for row in rows])
        np.testing.assert_array_equal(from_csv[key].astype(float), written)
        finite = np.where(np.isfinite(written), written, math.nan)
        np.testing.assert_array_equal(from_json[key].astype(float), finite)


@settings(max_examples=50, deadline=None)
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_csv_keeps_a_row_on_one_line_whatever_its_text(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("text")
    dump(folder, [{"steps": 1, "text": text}, {"steps": 2, "text": "last"}], ["csv"])
    table = logger.read_csv(folder / "progress.csv")
    assert list(table.steps) == [1, 2]
    assert table.text[0].split() == text.split()


# json.


def test_json_is_strict_and_keeps_types(tmp_path):
    dump(
        tmp_path,
        [{"nan": math.nan, "inf": -math.inf, "i": np.int64(3), "b": np.bool_(True), "s": "π"}],
        ["json"],
    )
    (line,) = (tmp_path / "progress.json").read_text().splitlines()
    assert strict_json(line) == {"nan": None, "inf": None, "i": 3, "b": True, "s": "π"}


# Resuming.


def rows_up_to(last: int) -> list[dict]:
    return [{STEPS: step, "eprewmean": step / 10} for step in range(10, last + 1, 10)]


def test_resuming_drops_later_rows_and_appends(tmp_path):
    formats = ["csv", "json", "tensorboard", "log"]
    dump(tmp_path, rows_up_to(50), formats)
    dump(tmp_path, [{STEPS: 40, "eprewmean": -1.0, "new": 2}], formats, resume_from=(STEPS, 30))
    tables = [
        logger.read_csv(tmp_path / "progress.csv"),
        logger.read_json(tmp_path / "progress.json"),
        logger.read_tb(tmp_path / "tb"),
    ]
    for table in tables:
        assert list(table[STEPS]) == [10, 20, 30, 40]
        np.testing.assert_allclose(table["eprewmean"], [1, 2, 3, -1])
        np.testing.assert_array_equal(table["new"], [math.nan, math.nan, math.nan, 2])
    assert (tmp_path / "log.txt").read_text().count("Logging to") == 2


def test_an_interrupted_run_ends_with_the_same_files_as_one_that_was_not(tmp_path):
    dump(tmp_path / "whole", rows_up_to(60), ["csv", "json"])
    dump(tmp_path / "resumed", rows_up_to(40), ["csv", "json"])
    dump(tmp_path / "resumed", rows_up_to(60)[2:], ["csv", "json"], resume_from=(STEPS, 20))
    for name in ("progress.csv", "progress.json"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "resumed" / name).read_bytes()


@pytest.mark.parametrize("name", ["progress.csv", "progress.json"])
@pytest.mark.parametrize("cut", [1, 4])
def test_resuming_drops_a_torn_last_row(tmp_path, name, cut):
    dump(tmp_path, rows_up_to(30), ["csv", "json"])
    file = tmp_path / name
    file.write_bytes(file.read_bytes()[:-cut])
    dump(tmp_path, [{STEPS: 40, "eprewmean": 4.0}], ["csv", "json"], resume_from=(STEPS, 30))
    table = (logger.read_csv if name.endswith("csv") else logger.read_json)(file)
    assert list(table[STEPS]) == [10, 20, 40]


def test_resuming_survives_a_torn_header(tmp_path):
    (tmp_path / "progress.csv").write_text("eprew")
    dump(tmp_path, rows_up_to(10), ["csv"], resume_from=(STEPS, 0))
    assert (tmp_path / "progress.csv").read_text() == f"eprewmean,{STEPS}\n1.0,10\n"


def test_a_row_without_the_key_stays_with_the_one_before_it(tmp_path):
    rows = [{STEPS: 10}, {"note": 1}, {STEPS: 20}, {"note": 2}]
    dump(tmp_path, rows, ["csv", "json"])
    dump(tmp_path, [], ["csv", "json"], resume_from=(STEPS, 10))
    assert (tmp_path / "progress.csv").read_text() == f"{STEPS},note\n10,\n,1\n"
    assert (tmp_path / "progress.json").read_text() == f'{{"{STEPS}": 10}}\n{{"note": 1}}\n'


@pytest.mark.parametrize("format", ["csv", "json"])
def test_rows_without_the_key_to_resume_from_are_an_error_and_stay(tmp_path, format):
    dump(tmp_path, [{"a": 1}], [format])
    before = (tmp_path / f"progress.{format}").read_bytes()
    with pytest.raises(ValueError, match=f"has no '{STEPS}' to resume from"):
        logger.configure(tmp_path, [format], resume_from=(STEPS, 1))
    assert (tmp_path / f"progress.{format}").read_bytes() == before


def test_without_resuming_files_are_replaced(tmp_path):
    formats = ["csv", "json", "tensorboard", "log"]
    dump(tmp_path, rows_up_to(50), formats)
    logger.write_hparams(tmp_path / "tb", {"lr": 1})
    dump(tmp_path, [{STEPS: 1}], formats)
    assert (tmp_path / "progress.csv").read_text() == f"{STEPS}\n1\n"
    assert (tmp_path / "progress.json").read_text() == f'{{"{STEPS}": 1}}\n'
    assert list(logger.read_tb(tmp_path / "tb").step) == [1]
    assert (tmp_path / "log.txt").read_text().count("Logging to") == 1
    assert len(os.listdir(tmp_path / "tb")) == 2


# TensorBoard. What TensorBoard itself reads is the truth.


@pytest.fixture
def tensorboard_without_tensorflow(monkeypatch):
    """TensorBoard's own switch for its reader in plain Python: importing TensorFlow takes seconds."""
    monkeypatch.setitem(sys.modules, "tensorboard.compat.notf", types.ModuleType("notf"))


def scalars_in_tensorboard(folder) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_tensorboard_reads_what_was_logged(tmp_path, tensorboard_without_tensorflow):
    rows = [{STEPS: 100, "a": math.nan, "alg": "ppo"}, {STEPS: 200, "a": np.float64(0.25), "b": math.inf}]
    dump(tmp_path, rows, ["tensorboard"])
    assert scalars_in_tensorboard(tmp_path / "tb") == {
        STEPS: [(100, 100.0), (200, 200.0)],
        "a": [(200, 0.25)],
        "b": [(200, math.inf)],
    }


def test_tensorboard_forgets_what_came_after_the_step_resumed_from(tmp_path, tensorboard_without_tensorflow):
    dump(tmp_path, rows_up_to(50), ["tensorboard"])
    (events,) = (tmp_path / "tb").iterdir()
    events.write_bytes(events.read_bytes()[:-3])
    dump(tmp_path, [{STEPS: 35, "eprewmean": 7.0}], ["tensorboard"], resume_from=(STEPS, 30))
    expected = [(10, 1.0), (20, 2.0), (30, 3.0), (35, 7.0)]
    assert scalars_in_tensorboard(tmp_path / "tb")["eprewmean"] == expected
    table = logger.read_tb(tmp_path / "tb")
    assert list(zip(table.step, table.eprewmean, strict=True)) == expected


def test_tensorboard_counts_rows_that_have_no_steps(tmp_path):
    dump(tmp_path, [{"a": 5}, {"a": 6}], ["tensorboard"])
    assert list(logger.read_tb(tmp_path / "tb").step) == [1, 2]


def test_tensorboard_resumes_by_its_own_steps_only(tmp_path):
    with pytest.raises(ValueError, match="cannot resume from 'misc/nupdates'"):
        logger.configure(tmp_path, ["tensorboard"], resume_from=("misc/nupdates", 3))


def hparams_table(folder):
    """What the HParams dashboard shows: its columns, and {run: (settings, {metric: last value})}."""
    from tensorboard import context as request_context
    from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
    from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
    from tensorboard.plugins import base_plugin
    from tensorboard.plugins.hparams import api_pb2, backend_context, list_session_groups

    runs = EventMultiplexer().AddRunsFromDirectory(str(folder))
    runs.Reload()
    tb = base_plugin.TBContext(data_provider=MultiplexerDataProvider(runs, str(folder)))
    context, asked = backend_context.Context(tb), request_context.RequestContext()
    metadata = context.hparams_metadata(asked, "")
    experiment = context.experiment_from_metadata(asked, "", True, metadata, [])
    request = api_pb2.ListSessionGroupsRequest(
        start_index=0,
        slice_size=10,
        allowed_statuses=list(api_pb2.Status.values()),
        include_metrics=True,
        col_params=[{"metric": info.name} for info in experiment.metric_infos],
    )
    groups = list_session_groups.Handler(asked, context, "", request).run().session_groups
    columns = [info.name for info in experiment.hparam_infos], [i.name.tag for i in experiment.metric_infos]
    table = {}
    for group in groups:
        settings = {name: getattr(v, v.WhichOneof("kind")) for name, v in group.hparams.items()}
        table[group.sessions[0].name] = (settings, {m.name.tag: m.value for m in group.metric_values})
    return columns, table


@pytest.mark.parametrize("metrics", [["eprewmean"], []])
def test_runs_compare_in_tensorboards_hparams_table(tmp_path, tensorboard_without_tensorflow, metrics):
    for alg, lr, reward in (("ppo", 3e-4, 5.0), ("wnpg", 1e-3, 7.0)):
        folder = tmp_path / alg
        dump(folder, [{STEPS: 10, "eprewmean": 0.0}, {STEPS: 20, "eprewmean": reward}], ["tensorboard"])
        settings = {"alg": alg, "lr": lr, "clip": True, "seed": 3, "sizes": (64, 64), "none": math.inf}
        logger.write_hparams(folder / "tb", {"alg": "stale"}, ["stale"])
        logger.write_hparams(folder / "tb", settings, metrics)
    (hparams, shown), table = hparams_table(tmp_path)
    assert set(hparams) == {"alg", "lr", "clip", "seed", "sizes", "none"}
    assert set(shown) == (set(metrics) or {"eprewmean", STEPS})
    common = {"clip": True, "seed": 3.0, "sizes": "(64, 64)", "none": "inf"}
    assert table["ppo/tb"][0] == {"alg": "ppo", "lr": 3e-4, **common}
    assert table["wnpg/tb"][0] == {"alg": "wnpg", "lr": 1e-3, **common}
    assert [table[f"{alg}/tb"][1]["eprewmean"] for alg in ("ppo", "wnpg")] == [5.0, 7.0]


def test_no_tensorflow_is_imported(tmp_path):
    code = f"""
import sys
from baselines_compat import logger, monitor, plot_util, schedules
logger.configure({str(tmp_path)!r}, ["csv", "json", "log", "tensorboard"])
logger.logkv("a", 1.0)
logger.dumpkvs()
logger.write_hparams({str(tmp_path / "tb")!r}, {{"lr": 1.0}}, ["a"])
assert logger.read_tb({str(tmp_path / "tb")!r}).a == [1.0]
heavy = {{"tensorflow", "keras", "pandas", "matplotlib"}} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)


# The functions.


def test_values_add_up_between_dumps(tmp_path):
    logger.configure(tmp_path, [])
    logger.logkv("last", 1)
    logger.logkv("last", 2)
    for value in (1.0, 2.0, 6.0):
        logger.logkv_mean("mean", value)
    assert logger.getkvs() == {"last": 2, "mean": pytest.approx(3.0)}
    assert logger.dumpkvs() == {"last": 2, "mean": pytest.approx(3.0)}
    assert logger.getkvs() == {} == logger.dumpkvs()
    logger.logkv_mean("mean", 5.0)
    assert logger.dumpkvs() == {"mean": 5.0}


def test_levels(tmp_path):
    logger.configure(tmp_path, ["log", "csv"])
    logger.debug("d1")
    logger.set_level(logger.WARN)
    logger.info("i1")
    logger.warn("w1", 2)
    logger.error("e1")
    logger.set_level(logger.DEBUG)
    logger.debug("d2")
    logger.set_level(logger.DISABLED)
    logger.error("e2")
    logger.logkv("a", 1)
    logger.dumpkvs()
    logger.Logger.CURRENT.close()
    assert (tmp_path / "log.txt").read_text().splitlines()[1:] == ["w1 2", "e1", "d2"]
    assert (tmp_path / "progress.csv").read_text() == ""


def test_baselines_older_names():
    assert logger.record_tabular is logger.logkv
    assert logger.dump_tabular is logger.dumpkvs


def test_profile_adds_seconds(tmp_path, monkeypatch):
    logger.configure(tmp_path, [])
    clock = iter([0.0, 2.0, 10.0, 13.0])
    monkeypatch.setattr(logger.time, "perf_counter", lambda: next(clock))
    with logger.profile_kv("rollout"):
        pass

    @logger.profile("rollout")
    def work(x):
        return 2 * x

    assert work(4) == 8
    assert work.__name__ == "work"
    assert logger.getkvs() == {"wait_rollout": 5.0}


def test_profile_counts_a_block_that_raises(tmp_path):
    logger.configure(tmp_path, [])
    with pytest.raises(KeyError), logger.profile_kv("x"):
        raise KeyError
    assert logger.getkvs()["wait_x"] > 0


# configure.


def test_configure_defaults_come_from_the_environment(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_LOGDIR", str(tmp_path / "from_env"))
    monkeypatch.setenv("OPENAI_LOG_FORMAT", "stdout, json,")
    logger.configure()
    assert logger.get_dir() == str(tmp_path / "from_env")
    assert os.listdir(tmp_path / "from_env") == ["progress.json"]
    assert capsys.readouterr().out == f"Logging to {tmp_path / 'from_env'}\n"
    logger.Logger.CURRENT.close()


def test_configure_without_anything_makes_a_temporary_folder(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(logger.tempfile, "gettempdir", lambda: str(tmp_path))
    logger.logkv("a", 1)  # nobody called configure
    (name,) = os.listdir(tmp_path)
    assert name.startswith("openai-")
    assert sorted(os.listdir(tmp_path / name)) == ["log.txt", "progress.csv"]
    assert logger.Logger.CURRENT is logger.Logger.DEFAULT
    logger.dumpkvs()
    assert "| a | 1        |" in capsys.readouterr().out
    logger.Logger.CURRENT.close()


def test_reset_goes_back_to_the_default(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_LOG_FORMAT", "log")
    monkeypatch.setenv("OPENAI_LOGDIR", str(tmp_path / "default"))
    default = logger.get_current()
    logger.configure(tmp_path / "other", ["log"])
    other = logger.get_current()
    logger.reset()
    assert logger.get_current() is default
    assert other.output_formats[0].file.closed
    logger.reset()
    assert not default.output_formats[0].file.closed
    default.close()


def test_scoped_configure_closes_and_restores_after_an_error(tmp_path):
    logger.configure(tmp_path / "outer", ["log"])
    outer = logger.get_current()
    with pytest.raises(KeyError), logger.scoped_configure(tmp_path / "inner", ["log"]):
        inner = logger.get_current()
        assert logger.get_dir() == str(tmp_path / "inner")
        raise KeyError
    assert logger.get_current() is outer
    assert inner.output_formats[0].file.closed
    outer.close()


def test_log_suffix(tmp_path):
    dump(tmp_path, [{"a": 1}], ["log", "csv", "json", "tensorboard"], log_suffix="-worker")
    names = ["log-worker.txt", "progress-worker.csv", "progress-worker.json", "tb-worker"]
    assert sorted(os.listdir(tmp_path)) == names


def test_an_unknown_format_is_named_and_closes_what_was_opened(tmp_path, monkeypatch):
    opened = []
    make = logger.make_output_format
    monkeypatch.setattr(logger, "make_output_format", lambda *a: opened.append(make(*a)) or opened[-1])
    with pytest.raises(ValueError, match="Unknown log format 'xml'; choose from stdout, log, csv, json, tensorboard"):
        logger.configure(tmp_path, ["csv", "xml"])
    assert opened[0].file.closed
    assert logger.Logger.CURRENT is None


class Doubling(logger.KVWriter):
    def __init__(self):
        self.rows = []

    def writekvs(self, kvs):
        self.rows.append({key: 2 * value for key, value in kvs.items()})

    def close(self):
        pass


def test_a_format_of_ones_own():
    own = Doubling()
    log = logger.Logger(dir=None, output_formats=[own])
    log.logkv("a", 2)
    log.dumpkvs()
    log.log("only for writers of lines")
    assert own.rows == [{"a": 4}]


@pytest.mark.parametrize("base, method", [(logger.KVWriter, "writekvs"), (logger.SeqWriter, "writeseq")])
def test_the_base_classes_ask_to_be_overridden(base, method):
    with pytest.raises(NotImplementedError):
        getattr(base(), method)({})


# ---- numbers of other libraries -------------------------------------------------------------------------------------

SMALL_TYPES = ["bfloat16", "float16", "float32", "float64", "int32", "int64", "uint8", "bool"]


def numbers():
    """One, as each library holds it."""
    import keras
    import tensorflow as tf

    for dtype in SMALL_TYPES:
        one = tf.cast(1, dtype)
        yield f"tensor of {dtype}", one
        yield f"tensor [1, 1] of {dtype}", tf.reshape(one, [1, 1])
        yield f"variable of {dtype}", tf.Variable(one)
        yield f"NumPy scalar of {dtype}", one.numpy()
        yield f"NumPy array of {dtype}", np.asarray(one.numpy())
        yield f"Keras variable of {dtype}", keras.Variable(1, dtype=dtype)
    yield "int4", tf.cast(1, "int4")
    yield "Python's", 1


def test_a_number_of_whichever_library_is_that_number_in_every_format(tmp_path, capsys):
    row = dict(numbers())
    formats = ["stdout", "log", "csv", "json", "tensorboard"]
    logger.configure(tmp_path, formats)
    for key, value in row.items():
        logger.logkv(key, value)
        for part in (value, value):
            logger.logkv_mean(f"mean {key}", part)
    logger.dumpkvs()
    logger.reset()
    keys = [*row, *(f"mean {key}" for key in row)]
    from_json = json.loads((tmp_path / "progress.json").read_text())
    from_csv, from_tb = logger.read_csv(tmp_path / "progress.csv"), logger.read_tb(tmp_path / "tb")
    for key in keys:
        assert float(from_json[key]) == 1.0, key
        assert str(from_csv[key][0]) in ("1", "1.0", "True"), key
        assert from_tb[key][0] == 1.0, key
    printed_rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert len(printed_rows) == len(keys)
    assert all(line.split("|")[2].split() == ["1"] for line in printed_rows)


def test_a_bfloat16_keeps_its_value(tmp_path):
    import tensorflow as tf

    logger.configure(tmp_path, ["json"])
    for value in (tf.cast(1.5, tf.bfloat16), tf.cast(2.5, tf.bfloat16).numpy()):
        logger.logkv_mean("loss", value)
    logger.logkv("nan", tf.cast(math.nan, tf.bfloat16))
    logger.dumpkvs()
    logger.reset()
    assert json.loads((tmp_path / "progress.json").read_text()) == {"loss": 2.0, "nan": None}


@pytest.mark.parametrize("call", [logger.logkv, logger.logkv_mean])
@pytest.mark.parametrize("value", [np.zeros(3), np.zeros((2, 2), np.float16), np.zeros(0)])
def test_an_array_is_refused_by_name(call, value, tmp_path):
    logger.configure(tmp_path, ["csv"])
    with pytest.raises(TypeError, match=f"'loss' cannot be logged: it is an array of shape {re.escape(str(value.shape))}"):
        call("loss", value)
    logger.logkv("other", 1)
    logger.dumpkvs()
    logger.reset()
    assert logger.read_csv(tmp_path / "progress.csv").columns == ["other"]


def test_a_format_refuses_an_array_before_it_writes(tmp_path):
    fmt = logger.CSVOutputFormat(tmp_path / "progress.csv")
    with pytest.raises(TypeError, match="'b' cannot be logged"):
        fmt.writekvs({"a": 1, "b": np.zeros(2)})
    fmt.close()
    assert (tmp_path / "progress.csv").read_text() == ""


def test_a_tensor_of_a_graph_and_the_mean_of_text_are_refused_by_name(tmp_path):
    import tensorflow as tf

    logger.configure(tmp_path, ["csv"])

    @tf.function(autograph=False)
    def compiled(x):
        logger.logkv("loss", x)
        return x

    with pytest.raises(TypeError, match="'loss' cannot be logged: it is a SymbolicTensor"):
        compiled(tf.constant(1.0))
    with pytest.raises(TypeError, match="'alg' has no mean"):
        logger.logkv_mean("alg", "ppo")
    logger.reset()


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array(1.5, object), 1.5),
        (np.longdouble(1.5), 1.5),
        (10**400, math.inf),
        (-(10**400), -math.inf),
        (np.ma.masked, math.nan),
        (np.ma.array([1.0], mask=[True]), math.nan),
        (np.ma.array([1.0]), 1.0),
    ],
)
def test_numbers_of_other_kinds_are_written_in_every_format(value, expected, tmp_path):
    with logger.scoped_configure(tmp_path, ["log", "csv", "json", "tensorboard"]):
        logger.logkv("x", value)
        logger.logkv_mean("mean", value)
        logger.dumpkvs()
    for column in ("x", "mean"):
        np.testing.assert_equal(logger.read_csv(tmp_path / "progress.csv")[column][0], expected)
