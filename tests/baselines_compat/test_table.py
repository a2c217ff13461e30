from __future__ import annotations

import numpy as np
import pytest

from baselines_compat.table import Table, complete_lines, parse_csv, read_csv, read_json


def test_columns_by_name_and_by_attribute():
    table = parse_csv(["l,r,misc/steps", "3,0.5,10", "4,1.5,20"])
    assert len(table) == 2
    assert table.columns == ["l", "r", "misc/steps"]
    assert list(table.r) == list(table["r"]) == [0.5, 1.5]
    assert "misc/steps" in table and "steps" not in table
    assert table.get("steps") is None
    assert dict(table.items()).keys() == {"l", "r", "misc/steps"}
    assert repr(table) == "Table(2 rows: l, r, misc/steps)"
    with pytest.raises(AttributeError, match="No column named 'steps'"):
        _ = table.steps
    with pytest.raises(KeyError):
        _ = table["steps"]


def test_columns_have_the_narrowest_type_that_holds_them():
    table = parse_csv(["i,f,hole,big,s", "1,1,3,1,x", "2,1e-3,,9223372036854775808,1"])
    assert {name: column.dtype.kind for name, column in table.items()} == {
        "i": "i", "f": "f", "hole": "f", "big": "f", "s": "U",
    }  # fmt: skip
    np.testing.assert_array_equal(table.hole, [3, np.nan])


def test_short_rows_end_in_missing_values():
    np.testing.assert_array_equal(parse_csv(["a,b", "1", "2,3"]).b, [np.nan, 3])


def test_an_empty_file_is_an_empty_table(tmp_path):
    (tmp_path / "empty").write_text("")
    assert len(read_csv(tmp_path / "empty")) == 0
    assert read_json(tmp_path / "empty").columns == []


def test_a_torn_last_line_is_left_out_and_either_line_end_is_read(tmp_path):
    (tmp_path / "file").write_bytes(b"a,b\r\n1,2\r\n3,4\n5,")
    assert complete_lines(tmp_path / "file") == ["a,b", "1,2", "3,4"]
    assert list(read_csv(tmp_path / "file").b) == [2, 4]


def test_a_monitor_header_is_skipped_and_a_column_with_a_hash_is_not(tmp_path):
    (tmp_path / "monitor").write_text('# {"t_start": 1}\nr,l\n1,2\n')
    assert read_csv(tmp_path / "monitor").columns == ["r", "l"]
    (tmp_path / "progress").write_text("#episodes,r\n1,2\n")
    assert read_csv(tmp_path / "progress").columns == ["#episodes", "r"]


def test_json_columns(tmp_path):
    (tmp_path / "file").write_text('{"a": 1, "s": "x"}\n{"a": null, "b": 2, "s": null}\n{"a"')
    table = read_json(tmp_path / "file")
    np.testing.assert_array_equal(table.a, [1, np.nan])
    np.testing.assert_array_equal(table.b, [np.nan, 2])
    assert list(table.s) == ["x", ""]


def test_columns_of_different_length_are_refused():
    with pytest.raises(ValueError, match="one length"):
        Table({"a": np.zeros(2), "b": np.zeros(3)})
