"""Whole numbers as texts say them."""

from __future__ import annotations

import pytest

from wng_tf.runtime import whole


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("7", 7),
        (" +7 ", 7),
        ("-3.0", -3),
        ("1e3", 1000),
        ("1_000", 1000),
        ("12345678901234567891", 12345678901234567891),
        ("12_345_678_901_234_567_891", 12345678901234567891),
    ],
)
def test_nothing_is_rounded(text, number):
    assert whole.parse(text) == number


@pytest.mark.parametrize("text", ["--5", "+-5", "", "much", "0x10", "²"])
def test_what_is_no_number_is_said_so(text):
    with pytest.raises(ValueError, match=f"^'{text.replace('+', '.')}' is not a number$"):
        whole.parse(text)


@pytest.mark.parametrize("text", ["1.5", "nan", "inf", "1e400", "1e-3"])
def test_fractions_are_not_whole(text):
    with pytest.raises(ValueError, match=f"^'{text}' is not a whole number$"):
        whole.parse(text)
