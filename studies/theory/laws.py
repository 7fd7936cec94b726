"""The Gaussian laws beside a simulation and the trained network, on validation images: one table and one figure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from studies.theory import gaussian_theory as oracles
from studies.theory.params import Laws
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import Restore
from dualprior.common.seeding import ImageNoise, generator
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint
from dualprior.diffusion.samplers import Denoise, restart
from dualprior.evaluation.drawing import SERIES, describe, new_figure
from dualprior.evaluation.image_grid import INK
from dualprior.restoration import diffusion_methods as r
from dualprior.restoration import problem
from dualprior.restoration.problem import Problem

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("laws", "restore", "tasks")
FUSED = ("dip_stopped", "ddpm_mean")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    laws: Laws = config.laws
    restore: Restore = config.restore
    task, where = config.task(laws.task), device.pick()
    model = checkpoint.load(paths, where)
    clean = to_unit(np.asarray(io.read_array(paths.val))).to(where)
    val = problem.load(paths, laws.task, task, "val", restore.seed, model, where)
    restored = io.read_tensors(paths.restored(laws.task))
    chosen = io.read_json(paths.restored_info(laws.task))["choices"]["ddpm_mean"]
    a, b = (restored[f"val_{name}"].to(where) for name in FUSED)
    rows = [
        *restart_law(laws),
        *restart_of_network(laws, model.denoise, clean),
        *fusion_law(a, b, clean),
        *mean_law(laws, val, clean, chosen),
    ]
    table = pd.DataFrame(rows, columns=["law", "series", "x", "mse"]).round(6)
    io.write_table(paths.report_laws, table)
    io.write_figure(paths.report_plot("laws"), figure(table, laws))


def restart_law(laws: Laws) -> Iterator[tuple]:
    """One call of the exact denoiser of Gaussian data, from a start with white error: closed form and simulation."""
    denoise, rng = oracles.gaussian_denoiser(0.0, laws.variance), generator(laws.seed, "laws")
    x0, error, z = (torch.randn(1, 1, 1, laws.pixels, generator=rng) for _ in range(3))
    x0, start = laws.variance**0.5 * x0, laws.variance**0.5 * x0 + laws.error * error
    for level in laws.levels:
        for matched, name in ((True, "matched"), (False, "plain")):
            if matched and level < laws.error:
                continue
            yield "restart", f"{name}, law", level, oracles.restart_mse(laws.variance, laws.error, level, matched=matched)
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


def fusion_law(a: Tensor, b: Tensor, clean: Tensor) -> Iterator[tuple]:
    """MSE of w a + (1 - w) b: measured, and by the law from the two RMSEs and their correlation."""
    first, second = a - clean, b - clean
    rms = [float(error.square().mean().sqrt()) for error in (first, second)]
    correlation = float((first * second).mean()) / (rms[0] * rms[1])
    for weight in np.linspace(0, 1, 11).tolist():
        law = (weight * rms[0]) ** 2 + ((1 - weight) * rms[1]) ** 2 + 2 * weight * (1 - weight) * correlation * rms[0] * rms[1]
        yield "fusion", "law", weight, law
        yield "fusion", "measured", weight, float((weight * a + (1 - weight) * b - clean).square().mean())
    yield "fusion", "best weight by the law", oracles.fusion_weight(*rms, correlation), oracles.fusion_mse(*rms, correlation)


def mean_law(laws: Laws, val: Problem, clean: Tensor, chosen: dict) -> Iterator[tuple]:
    """MSE of the mean of K stochastic chains, and (1 + 1/K) / 2 times that of one."""
    weight = chosen["data_weight"]
    runs = [r.chain(val, {}, laws.calls, 1.0, weight, purpose=f"laws-{k}").x for k in range(max(laws.samples))]
    single = float(np.mean([float((x - clean).square().mean()) for x in runs]))
    for count in laws.samples:
        yield "mean", "law", count, single * (1 + 1 / count) / 2
        yield "mean", "measured", count, float((torch.stack(runs[:count]).mean(0) - clean).square().mean())


TITLES = {
    "restart": "Gaussian data: a matched restart beats its start, least at s = e",
    "network": "The trained network, starts with white error",
    "fusion": "Weighted mean of a stopped DIP and a mean of chains",
    "mean": "Mean of K chains",
}
AXES = {"restart": "start level s", "network": "start level s", "fusion": "weight of the DIP", "mean": "K"}


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
