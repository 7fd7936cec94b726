"""Sheets of pictures: many small images with captions, in blocks."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

DPI = 110
INK = "#222222"


class Panel(NamedTuple):
    """One picture of a `sheet`."""

    image: np.ndarray  # [H,W,3] in [0,1] or uint8, shown pixel by pixel
    above: str = ""
    below: str = ""
    bold: bool = False


def sheet(blocks: Mapping[str, Sequence[Panel]], columns: int, side: float, above: float, below: float, font: float = 8.5) -> Figure:
    """Pictures in blocks, each under its heading, `columns` in a row; side, above and below in inches.

    One axes in inches holds them all: an axes for every picture takes seconds.
    """
    gap, heading = 0.1, 0.35
    cell = np.array([side + gap, above + side + below])
    rows = {name: -(-len(panels) // columns) for name, panels in blocks.items()}
    width, height = columns * cell[0], sum(heading + count * cell[1] for count in rows.values())
    figure = Figure(figsize=(width, height), dpi=DPI)
    ax = figure.add_axes((0, 0, 1, 1))
    top = 0.0
    for name, panels in blocks.items():
        ax.text(gap / 2, top + heading * 0.7, name, fontsize=font + 2, color=INK, fontweight="bold")
        top += heading
        for place, panel in enumerate(panels):
            row, column = divmod(place, columns)
            left, upper = column * cell[0] + gap / 2, top + row * cell[1] + above
            ax.imshow(panel.image, interpolation="nearest", extent=(left, left + side, upper + side, upper), aspect="auto")
            text = {"x": left + side / 2, "color": INK, "ha": "center", "linespacing": 1.1}
            ax.text(y=upper - 0.03, s=panel.above, va="bottom", fontsize=font, **text)
            ax.text(y=upper + side + 0.03, s=panel.below, va="top", fontsize=font, fontweight="bold" if panel.bold else "normal", **text)
        top += rows[name] * cell[1]
    ax.set(xlim=(0, width), ylim=(height, 0))
    ax.set_axis_off()
    return figure
