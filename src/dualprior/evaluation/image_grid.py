"""The look of all figures, and grids of pictures with captions.

Figures are matplotlib Figures made without pyplot's global state. Colours are Okabe and Ito's, safe for colour-blind readers.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DPI = 110
INK, FAINT = "#222222", "#9a9a9a"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#222222", "#e69f00")


def new_figure(rows: int, columns: int, width: float, height: float, **settings) -> tuple[Figure, np.ndarray]:
    """A figure of rows × columns axes, each width × height inches."""
    figure = Figure(figsize=(columns * width, rows * height), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **settings)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(which="both", labelsize=9, color=FAINT)
        ax.grid(True, color="#e6e6e6", linewidth=0.6)
        ax.set_axisbelow(True)
    return figure, axes


def panels(names: Sequence[str], width: float = 4.4, height: float = 3.2, columns: int = 3, **settings) -> tuple[Figure, dict[str, Axes]]:
    """One axes a name, in rows of three."""
    columns = min(columns, len(names))
    figure, axes = new_figure(-(-len(names) // columns), columns, width, height, **settings)
    for ax in list(axes.flat)[len(names) :]:
        ax.set_axis_off()
    return figure, dict(zip(names, axes.flat, strict=False))


def describe(ax: Axes, x: str = "", y: str = "", title: str = "") -> None:
    ax.set_xlabel(x, fontsize=10)
    ax.set_ylabel(y, fontsize=10)
    ax.set_title(title, fontsize=10, loc="left", color=INK)


class Panel(NamedTuple):
    """One picture of a `grid`."""

    image: np.ndarray  # [H,W,3] in [0,1] or uint8, shown pixel by pixel
    above: str = ""
    below: str = ""
    bold: bool = False


def grid(
    blocks: Mapping[str, Sequence[Panel]], columns: int, side: float, above: float = 0.0, below: float = 0.1, font: float = 9
) -> Figure:
    """Pictures in blocks, each under its heading (none for one that starts with a space), `columns` in a row; lengths in inches.

    One axes in inches holds them all: an axes for every picture takes seconds.
    """
    gap = 0.08
    cell = np.array([side + gap, above + side + below])
    heads = {name: 0.0 if name.startswith(" ") else 0.35 for name in blocks}
    rows = {name: -(-len(block) // columns) for name, block in blocks.items()}
    width, height = columns * cell[0], sum(heads[name] + count * cell[1] for name, count in rows.items())
    figure = Figure(figsize=(width, height), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    top = 0.0
    for name, block in blocks.items():
        if heads[name]:
            ax.text(gap / 2, top + heads[name] * 0.7, name, fontsize=font + 2, color=INK, fontweight="bold")
        top += heads[name]
        for place, panel in enumerate(block):
            row, column = divmod(place, columns)
            left, upper = column * cell[0] + gap / 2, top + row * cell[1] + above
            ax.imshow(panel.image, interpolation="nearest", extent=(left, left + side, upper + side, upper), aspect="auto")
            text = {"x": left + side / 2, "color": INK, "ha": "center", "linespacing": 1.1, "fontsize": font}
            ax.text(y=upper - 0.03, s=panel.above, va="bottom", **text)
            ax.text(y=upper + side + 0.03, s=panel.below, va="top", fontweight="bold" if panel.bold else "normal", **text)
        top += rows[name] * cell[1]
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    return figure
