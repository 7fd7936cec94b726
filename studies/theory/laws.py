"""laws: the Gaussian laws beside a simulation and the trained network, on validation images: one table and one figure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.seeding import ImageNoise, generator
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint
from dualprior.diffusion.samplers import Denoise, restart
from dualprior.evaluation.image_grid import INK, SERIES, describe, new_figure
from dualprior.restoration.diffusion_methods import chain
from dualprior.restoration.problem import Problem, read_problems
from studies.theory import gaussian_theory
from studies.theory.params import Laws

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("laws", "restore.seed")


@torch.no_grad()
def run(config: Config, paths: Paths) -> None:
    laws: Laws = config.laws
    seed: int = config.entry("restore", "seed")
    default, where = paths.default, device.pick()
    model = checkpoint.load(default.models, where)
    clean = to_unit(io.read_array(default.split("val"))).to(where)
    val, _ = read_problems(default.measurements(laws.task), default.dip(laws.task), seed, model, where)
    rows = [*restart_law(laws), *restart_of_network(laws, model.denoise, clean), *mean_law(laws, val, clean)]
    table = pd.DataFrame(rows, columns=["law", "series", "x", "mse"]).round(6)
    io.write_table(paths.metrics("laws.csv"), table)
    io.write_figure(paths.plot("laws"), figure(table, laws))


def restart_law(laws: Laws) -> Iterator[tuple]:
    """One call of the exact denoiser of Gaussian data, from a start with white error: closed form and simulation."""
    denoise, rng = gaussian_theory.gaussian_denoiser(0.0, laws.variance), generator(laws.seed, "laws")
    x0, error, z = (torch.randn(1, 1, 1, laws.pixels, generator=rng) for _ in range(3))
    x0, start = laws.variance**0.5 * x0, laws.variance**0.5 * x0 + laws.error * error
    for level in laws.levels:
        for matched, name in ((True, "matched"), (False, "plain")):
            if matched and level < laws.error:
                continue
            yield "restart", f"{name}, law", level, gaussian_theory.restart_mse(laws.variance, laws.error, level, matched=matched)
            simulated = _one_call(denoise, start, laws.error, level, z, matched)
            yield "restart", f"{name}, simulated", level, float((simulated - x0).square().mean())


def restart_of_network(laws: Laws, denoise: Denoise, clean: Tensor) -> Iterator[tuple]:
    """The same with the trained network: validation images with white error, one call."""
    names = list(range(len(clean)))
    error, z = (ImageNoise(laws.seed, purpose, names)(clean) for purpose in ("laws-error", "laws-z"))
    start = clean + laws.error * error
    for level in laws.levels:
        for matched, name in ((True, "matched"), (False, "plain")):
            x0 = _one_call(denoise, start, laws.error, level, z, matched)
            yield "network", name, level, float((x0 - clean).square().mean())


def _one_call(denoise: Denoise, start: Tensor, error: float, level: float, z: Tensor, matched: bool) -> Tensor:
    """Below its own error a matched start is taken to be less noisy than it is."""
    levels = torch.full((len(start),), level, device=start.device)
    return denoise(restart(start, torch.full_like(levels, error if matched else 0.0), levels, z), levels)


def mean_law(laws: Laws, val: Problem, clean: Tensor) -> Iterator[tuple]:
    """MSE of the mean of K stochastic chains, and (1 + 1/K) / 2 times that of one."""
    runs = [chain(val, {}, laws.calls, 1.0, 1.0, purpose=f"laws-{k}").x for k in range(max(laws.samples))]
    single = float(np.mean([float((x - clean).square().mean()) for x in runs]))
    for count in laws.samples:
        yield "mean", "law", count, single * (1 + 1 / count) / 2
        yield "mean", "measured", count, float((torch.stack(runs[:count]).mean(0) - clean).square().mean())


TITLES = {
    "restart": "Gaussian data: plain and matched restart",
    "network": "The trained network, starts with white error",
    "mean": "Mean of K chains",
}
AXES = {"restart": "start level s", "network": "start level s", "mean": "K"}


def figure(table: pd.DataFrame, laws: Laws) -> Figure:
    """A panel a law: closed forms as lines, what was simulated or measured as marks."""
    drawn, axes = new_figure(1, len(TITLES), 4.4, 3.4)
    for ax, (law, title) in zip(axes[0], TITLES.items(), strict=True):
        rows = table[table["law"] == law]
        for (series, some), colour in zip(rows.groupby("series", sort=False), SERIES, strict=False):
            line = "-" if series.endswith("law") or law == "network" else ""
            mark = "*" if "best" in series else "" if series.endswith("law") else "o"
            ax.plot(some["x"], some["mse"], line, marker=mark, color=colour, markersize=12 if mark == "*" else 5, label=series)
        if law in ("restart", "network"):
            ax.axhline(laws.error**2, color=INK, linestyle="--", linewidth=0.9, label="the start itself")
            ax.axvline(laws.error, color=INK, linestyle=":", linewidth=0.9)
        describe(ax, AXES[law], "mean squared error", title)
        ax.legend(fontsize=7, frameon=False)
    return drawn
