"""Figures of the benchmarks: nothing empty, and methods look as everywhere."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import to_hex

from benchmarks import comparison
from benchmarks.throughput_figure import draw
from wng_tf.plots.style import METHODS

SCALING = {"num_env": ("ppo", (1, 2)), "num_basis": ("wnpg", (1, 5))}
RATES = [("rates", "ppo", 300.0, ""), ("rates", "sb3 ppo", 40.0, ""), ("rates", "env.step alone", 500.0, "")]
TIMES = [("scaling", f"{alg} {setting}={value}", 10.0 * value, "") for setting, (alg, of) in SCALING.items() for value in of]


def test_only_what_was_measured_has_a_panel():
    assert draw([("memory", "run", 1.0, "MB")], "Hopper", SCALING) is None
    (rates,) = draw(RATES, "Hopper", SCALING).axes
    assert [label.get_text() for label in rates.get_yticklabels()] == ["PPO (Clip), sb3", "PPO (Clip)", "env.step alone"]
    (times,) = draw(TIMES[2:], "Hopper", SCALING).axes  # of a setting whose values were all measured
    assert [line.get_label() for line in times.lines] == ["WNPG: num_basis"]
    both = draw(RATES + TIMES, "Hopper", SCALING).axes
    assert len(both) == 2 and len(both[1].lines) == 2
    assert to_hex(both[0].patches[1].get_facecolor()).upper() == METHODS["ppo"][1]
    assert both[1].lines[1].get_color() == METHODS["wnpg"][1]


def test_a_comparison_has_every_run(tmp_path, monkeypatch):
    from matplotlib.figure import Figure

    saved = []
    monkeypatch.setattr(Figure, "savefig", lambda self, *args, **options: saved.append(self))
    rows = [
        {"env": "Hopper-v5", "library": library, "final_return": str(value)}
        for library, values in (("wng_tf", (1.0, 2.0)), ("other", (3.0,)))
        for value in values
    ]
    comparison.plot(rows, ["Hopper-v5"], ["wng_tf", "other"], "trpo", tmp_path / "returns.png")
    (ax,) = saved[0].axes
    assert ax.get_title(loc="left") == "Hopper-v5, TRPO"
    drawn = np.sort(np.concatenate([line.get_ydata() for line in ax.lines if line.get_alpha() == 0.45]))
    assert drawn.tolist() == [1.0, 2.0, 3.0]
