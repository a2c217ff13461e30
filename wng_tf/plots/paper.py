"""The paper's numbers, to stand beside ours (Moskovitz et al. 2021, Efficient Wasserstein Natural Gradients for RL)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class PaperReturn(NamedTuple):
    """A final average return over 5 trials; `sd` over trials where the paper's text prints it."""

    mean: float
    sd: float | None = None


#: Methods from best to worst, as the paper claims it.
CLAIMED_ORDER = ("bg_wnpg", "wnpg", "bgpg", "ppo", "pg")


def _row(bg_wnpg: PaperReturn, wnpg: float, bgpg: float, ppo: float, pg: float) -> Mapping[str, PaperReturn]:
    return {
        "bg_wnpg": bg_wnpg,
        "wnpg": PaperReturn(wnpg),
        "bgpg": PaperReturn(bgpg),
        "ppo": PaperReturn(ppo),
        "pg": PaperReturn(pg),
    }


#: Table 1.
TABLE1: Mapping[str, Mapping[str, PaperReturn]] = {
    "(RS) Walker2d": _row(PaperReturn(739.51, 81.10), 683.38, 652.53, 516.47, 529.60),
    "(RS) HalfCheetah": _row(PaperReturn(1817.68, 79.64), 1655.04, 1668.75, 1412.57, 1334.27),
    "(RS) Ant": _row(PaperReturn(2072.56, 85.24), 1844.14, 1735.98, 1627.01, 1566.63),
    "(RS) Reacher": _row(PaperReturn(4.37, 2.23), 2.13, 0.46, -0.37, -6.46),
    "DoublePendulum": _row(PaperReturn(7254.98, 419.36), 6740.96, 6526.48, 4401.24, 3964.51),
    "Hopper": _row(PaperReturn(2439.56, 394.39), 2235.23, 1934.43, 1890.12, 1816.58),
}

TABLES = {"table1": TABLE1}

# Hopper and DoublePendulum were MuJoCo's; the Roboschool worlds live on as PyBullet's, which the short names are.
_ROWS = {
    r"Walker2d": "(RS) Walker2d",
    r"HalfCheetah": "(RS) HalfCheetah",
    r"Ant": "(RS) Ant",
    r"Reacher": "(RS) Reacher",
    r"InvertedDoublePendulum-v\d+": "DoublePendulum",
    r"Hopper-v\d+": "Hopper",
}


def paper_row(table: Mapping[str, Mapping[str, PaperReturn]], env: str) -> Mapping[str, PaperReturn]:
    """The paper's returns by algorithm on the task that is `env` here; empty if the paper does not have it."""
    for pattern, name in _ROWS.items():
        if re.fullmatch(pattern, env):
            return table.get(name, {})
    return {}
