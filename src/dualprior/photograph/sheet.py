"""One sheet about one restored picture: what came in, what each prior gave, where it may be wrong, and why the DIP was stopped."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from dualprior.data.pixels import to_01
from dualprior.evaluation.image_grid import INK, SERIES, describe, panels
from dualprior.photograph.restore import Restored, predicted_psnr

LONGEST = 700  # side of a picture on the sheet, pixels


def sheet(name: str, y: Tensor, restored: Restored) -> Figure:
    """y: the measurement, [1, C, h, w] in [-1, 1]."""
    pictures = {"input": y, **{kind: found.x for kind, found in restored.found.items()}}
    error_map = next((found.error_map for found in restored.found.values() if found.error_map is not None), None)
    names = [*pictures, *(["error"] if error_map is not None else []), *(["stop"] if restored.trace else [])]
    figure, axes = panels(names, 4.6, 4.4)
    for kind, x in pictures.items():
        psnr = predicted_psnr(restored.found[kind]) if kind in restored.found else None
        _show(axes[kind], shown(x), kind if psnr is None else f"{kind}: predicted PSNR {psnr:.1f} dB")
    if error_map is not None:
        told = "predicted error (white: not known)" if restored.answer.mse is not None else "how the chains differ"
        drawn = axes["error"].imshow(_thinned(error_map[0, 0].sqrt().cpu().numpy() * 127.5), cmap="magma", vmin=0)
        _plain(axes["error"], f"{told}, of 255")
        figure.colorbar(drawn, ax=axes["error"], shrink=0.8)
    if restored.trace:
        ax = axes["stop"]
        ax.plot([row["step"] for row in restored.trace], [row["error_estimate"] for row in restored.trace], color=SERIES[0])
        ax.axvline(restored.stop_step, color=SERIES[1])
        describe(ax, "steps of the DIP", "estimated squared error", f"stopped at step {restored.stop_step}")
    settings = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in restored.about.items())
    figure.suptitle(f"{name}: {settings}", fontsize=11, color=INK, x=0.01, ha="left")
    return figure


def shown(x: Tensor) -> np.ndarray:
    """[H, W, 3] in [0, 1], small enough for a sheet."""
    values = to_01(x)[0]
    return _thinned(np.repeat(values, 3, axis=2) if values.shape[2] == 1 else values)


def _thinned(values: np.ndarray) -> np.ndarray:
    every = -(-max(values.shape[:2]) // LONGEST)
    return values[::every, ::every]


def _show(ax, values: np.ndarray, title: str) -> None:
    ax.imshow(values, interpolation="nearest")
    _plain(ax, title)


def _plain(ax, title: str) -> None:
    ax.set_axis_off()
    describe(ax, title=title)
