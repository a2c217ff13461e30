"""How methods look: one colour and one name each, the same in every figure and table, told apart without colour too.

Colours are Okabe and Ito's, which people with colour-blindness can tell apart, with the yellow replaced. A method and
its counterpart among the evolution strategies share a colour. Lines carry their names at their ends.
"""

from __future__ import annotations

import colorsys
import itertools
import math
import zlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import matplotlib
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

from wng_tf.envs.tasks import SHORT_NAMES

Method = tuple[str, str]

#: Algorithm to name and colour, in the order of legends and tables.
METHODS: Mapping[str, tuple[str, str]] = {
    "wtrpo": ("WTRPO", "#5B3A8C"),
    "bg_wnpg": ("BG-WNPG", "#D55E00"),
    "wnpg": ("WNPG", "#0072B2"),
    "bgpg": ("BGPG", "#009E73"),
    "npg": ("NPG", "#A6761D"),
    "trpo": ("TRPO", "#CC79A7"),
    "ppo": ("PPO (Clip)", "#E69F00"),
    "ppo_kl": ("PPO (KL)", "#56B4E9"),
    "pg": ("None", "#6E6E6E"),
    "bg_wnes": ("BG-WNES", "#D55E00"),
    "wnes": ("WNES", "#0072B2"),
    "bges": ("BGES", "#009E73"),
    "nsr_es": ("NSR-ES", "#CC79A7"),
    "es": ("ES", "#6E6E6E"),
}

_OTHERS = ("#332288", "#DDAA33", "#882255", "#44AA99", "#117733", "#CC6677", "#999933", "#88CCEE")
_LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))

STYLE = {
    "font.size": 8.0,
    "axes.titlesize": 9.0,
    "axes.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "path",
    "svg.hashsalt": "wng_tf",  # the same figure gives the same file
}


def method_name(method: Method) -> str:
    """Name of an algorithm and its variant, for people."""
    alg, variant = method
    name = METHODS[alg][0] if alg in METHODS else alg
    return f"{name}, {variant}" if variant else name


def ordered(methods: Iterable[Method]) -> list[Method]:
    """Methods once each, in the order of legends and tables; unknown ones last."""
    rank = {alg: place for place, alg in enumerate(METHODS)}
    return sorted(set(methods), key=lambda method: (rank.get(method[0], len(rank)), method[0], _by_number(method[1])))


def task_name(env: str) -> str:
    """Name of a task; those of the embedded engine say so, because MuJoCo's have nearly the same names."""
    return f"{env} (PyBullet)" if "Bullet" in SHORT_NAMES.get(env, "") else env


class Look:
    """Colours and line styles for the methods of one figure.

    Args:
      methods: what is drawn.
      colors: of algorithms that are not in `METHODS`. One that is in neither has a colour by its name, the same in every
        figure unless another one of the figure has it already.
    """

    def __init__(self, methods: Iterable[Method], colors: Mapping[str, str] = MappingProxyType({})):
        self._look: dict[Method, tuple[str, object]] = {}
        known = {**{alg: color for alg, (_, color) in METHODS.items()}, **colors}
        taken: set[str] = set()
        for alg, group in itertools.groupby(ordered(methods), key=lambda method: method[0]):
            base = known.get(alg) or _by_name(alg, taken)
            taken.add(base)
            # The method as such comes first and has the colour that it has everywhere.
            variants = sorted(group, key=lambda method: method[1] != "")
            shades = _shades(base, len(variants), keep_first=variants[0][1] == "")
            for method, shade, line in zip(variants, shades, itertools.cycle(_LINES), strict=False):
                self._look[method] = (shade, line)

    def color(self, method: Method) -> str:
        return self._look[method][0]

    def line(self, method: Method) -> object:
        return self._look[method][1]

    def text_color(self, method: Method) -> str:
        """The method's colour, darkened until text in it reads well on white (contrast 4.5, WCAG AA)."""
        return readable(self.color(method))


def readable(color: str) -> str:
    """The colour, darkened until its contrast with white is at least 4.5."""
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))
    while contrast_with_white(color) < 4.5:
        lightness *= 0.95
        color = to_hex(colorsys.hls_to_rgb(hue, lightness, saturation))
    return color


def contrast_with_white(color: str) -> float:
    """Contrast ratio of WCAG 2: 1 for white, 21 for black."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    luminance = sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return 1.05 / (luminance + 0.05)


def _by_name(alg: str, taken: Collection[str]) -> str:
    first = zlib.crc32(alg.encode()) % len(_OTHERS)
    order = [*_OTHERS[first:], *_OTHERS[:first]]
    return next((color for color in order if color not in taken), order[0])


def _shades(color: str, count: int, *, keep_first: bool) -> list[str]:
    """Of a colour from light to dark around it; with `keep_first` the colour itself, and then darker and lighter ones."""
    if count == 1:
        return [color]
    hue, lightness, saturation = colorsys.rgb_to_hls(*to_rgb(color))

    def shade(factor: float) -> str:
        return to_hex(colorsys.hls_to_rgb(hue, min(lightness * factor, 0.8), saturation))

    if keep_first:
        return [color, *(shade((0.6, 1.4, 0.4, 1.7, 0.8)[place % 5]) for place in range(count - 1))]
    return [shade(1.45 - 0.9 * place / (count - 1)) for place in range(count)]


def _by_number(variant: str) -> tuple:
    """Sorts lr=5e-5 before lr=1e-4."""
    parts = []
    for part in variant.split(", "):
        name, _, value = part.partition("=")
        try:
            parts.append((name, 0, float(value), value))
        except ValueError:
            parts.append((name, 1, 0.0, value))
    return tuple(parts)


def spread(positions: Sequence[float], gap: float, low: float = -math.inf, high: float = math.inf) -> list[float]:
    """Moves numbers as little as possible (least squares) so that any two are at least `gap` apart; order is kept.

    Args:
      low, high: where they are to stay, as far as the gaps leave room; `low` goes before `high`.
    """
    order = sorted(range(len(positions)), key=lambda i: positions[i])
    places = dict(zip(order, range(len(order)), strict=True))
    last = len(positions) - 1
    positions = [
        max(min(position, high - (last - places[i]) * gap), low + places[i] * gap) for i, position in enumerate(positions)
    ]
    # With the gaps subtracted this is isotonic regression: pool neighbours that are out of order.
    blocks: list[list[float]] = []
    for rank, index in enumerate(order):
        blocks.append([positions[index] - rank * gap, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (value, count), (other, weight) = blocks.pop(), blocks.pop()
            blocks.append([(value * count + other * weight) / (count + weight), count + weight])
    levels = [value for value, count in blocks for _ in range(int(count))]
    moved = [0.0] * len(positions)
    for rank, index in enumerate(order):
        moved[index] = levels[rank] + rank * gap
    return moved


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of that many inches, outside pyplot's global state."""
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, stem: Path) -> list[Path]:
    """Writes `<stem>.png` and `<stem>.svg`."""
    paths = [stem.with_name(stem.name + suffix) for suffix in (".png", ".svg")]
    with in_style():
        figure.savefig(paths[0], dpi=200)
        figure.savefig(paths[1], metadata={"Date": None})
    return paths


def in_style():
    """Context in which figures are made."""
    return matplotlib.rc_context(STYLE)
