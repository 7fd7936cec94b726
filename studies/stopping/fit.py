"""fit@problem: Deep Image Prior fits to the measurements of one problem, every few iterates kept for any rule to be tried on.

Reads measurements only. In one batch: the two paired fits, and where asked one to the whole measurement (which published
rules stop) and one to a probed copy of it (which SURE needs). No stopping rule is run here, so a new rule reruns no fit;
noise annealing, which changes what is fitted, is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import DIPNetwork
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.measurement import Measurement, read_measurement
from dualprior.degradation.operators import Operator
from dualprior.diffusion import schedule
from dualprior.dip import fit as dip
from dualprior.dip.risk import MeasurementSplit, RiskEstimate
from studies.stopping.noise_annealing import NoiseAnnealing, noised
from studies.stopping.params import Fit, Fitting, Problem, each_fit
from studies.stopping.splits import probe, risk_of

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("fitting", "fits.{key}", "problems.{key}", "networks")
LITERAL_LEVEL = 0.2  # noise, in [-1, 1] units, that annealing on a clean image starts from in units of fitting.top


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem."""
    fitting: Fitting = config.fitting
    problem: Problem = config.entry("problems", key)
    networks: dict[str, DIPNetwork] = config.networks
    where = device.pick()
    for name, _, fit in each_fit({key: config.entry("fits", key)}):
        recipe = dip.Recipe.of(fitting.model_dump(), networks[fit.network].model_dump())
        tensors, info = {}, {"steps": kept_steps(fit), "levels": []}
        for split in ("val", "test"):
            measured = read_measurement(paths.measurements(key), split, where)
            done = fit_all(measured, problem, fit, fitting, recipe, f"{name}, {split}")
            tensors |= {f"{split}_{stream}": stack for stream, stack in done.streams.items()}
            info["levels"] += [{"split": split, **row} for row in done.levels]
        io.write_tensors(paths.folder("fits") / key / name / "iterates.safetensors", tensors)
        io.write_json(paths.folder("fits") / key / name / "info.json", info)


def kept_steps(fit: Fit) -> list[int]:
    return list(range(fit.every, fit.steps + 1, fit.every))


@dataclass
class Streams:
    """What was kept of a batch of fits.

    streams: by name, float16 [S, n, C, H, W]: averages "first" and "second" of the pair, "whole", "probe"; raw outputs
    "pair_output" (of the pair's mean) and "whole_output"; "whole_loss" [S, n]. Exact data are laid over the averages.
    """

    streams: dict[str, Tensor]
    levels: list[dict]


def fit_all(measured: Measurement, problem: Problem, fit: Fit, fitting: Fitting, recipe: dip.Recipe, what: str) -> Streams:
    n, device_ = len(measured.y), measured.y.device
    risk = risk_of(measured, fit, fitting)
    parts = _parts(measured, problem, fit, fitting, risk)
    names = [f"{name}/2" if part == "second" else name for part in parts for name in measured.names]
    y = torch.cat([part.y for part in parts.values()])
    annealed = _Annealed(measured, fit, fitting, list(parts)) if fit.annealing != "none" else None
    steps = dip.fit_images(
        recipe, measured.op[[*range(n)] * len(parts)], y if annealed is None else annealed.target(y), names, measured.size, fit.steps,
        device=device_, keep=_keep(parts, measured.op),
        input_scale=_constant(fit.input_scale, len(names)) if annealed is None else annealed.input_scale,
    )  # fmt: skip
    kept: dict[str, list[Tensor]] = {}
    for done in track(steps, f"fit {what}", fit.steps):
        if done.step % fit.every == 0:
            averages = dict(zip(parts, done.average.chunk(len(parts)), strict=True))
            for name, tensor in _shown(done, averages, list(parts), measured, problem).items():
                kept.setdefault(name, []).append(tensor.half().cpu())
            if annealed is not None:
                annealed.look(done.step, averages, risk)
    stacked = {name: torch.stack(tensors) for name, tensors in kept.items()}
    return Streams(stacked, [] if annealed is None else annealed.rows)


def _constant(scale: float, count: int) -> Callable[[int], Tensor] | None:
    """The same noise on every network's input at every step; None for the usual."""
    return None if scale == 1 else lambda step: torch.full((count,), scale)


def _parts(measured: Measurement, problem: Problem, fit: Fit, fitting: Fitting, risk: RiskEstimate | None) -> dict[str, MeasurementSplit]:
    """What is fitted side by side, by name."""
    parts = {} if risk is None else dict(zip(("first", "second"), risk.splits, strict=True))
    if fit.whole:
        parts["whole"] = MeasurementSplit(measured.y)
    if fit.probe:
        parts["probe"] = MeasurementSplit(measured.y + fitting.probe_width * probe(measured, fitting))
    return parts


def _keep(parts: dict[str, MeasurementSplit], op: Operator) -> Tensor | None:
    """The values to fit of all parts together; None where the operator decides."""
    if all(part.keep is None for part in parts.values()):
        return None
    return torch.cat([(_measured(op, part.y) if part.keep is None else part.keep).expand_as(part.y) for part in parts.values()])


def _measured(op: Operator, y: Tensor) -> Tensor:
    return torch.ones_like(y) if op.measured is None else op.measured.to(y)


def _shown(done: dip.DIPStep, averages: dict[str, Tensor], parts: list[str], measured: Measurement, problem: Problem) -> dict[str, Tensor]:
    """The tensors of one step that are kept, by stream. Exact data are laid over them, but not where the whole image is measured."""
    outputs = dict(zip(parts, done.output.chunk(len(parts)), strict=True))
    losses = dict(zip(parts, done.loss.chunk(len(parts)), strict=True))
    shown = dict(averages)
    if "second" in parts:
        shown["pair_output"] = (outputs["first"] + outputs["second"]) / 2
    if "whole" in parts:
        shown["whole_output"] = outputs["whole"]
    if problem.hides:
        shown = {name: project_on_exact_data(measured.op, image, measured.y, measured.sigma_y) for name, image in shown.items()}
    if "whole" in parts:
        shown["whole_loss"] = losses["whole"].float()
    return shown


class _Annealed:
    """Noise annealing of one batch: at which level every image is, what it is fitted to, and a row for every level it leaves."""

    def __init__(self, measured: Measurement, fit: Fit, fitting: Fitting, parts: list[str]):
        n = len(measured.y)
        start = fitting.top * (measured.sigma_y or LITERAL_LEVEL)
        self.taus = schedule.few_step_grid(start, fitting.levels - 1)
        self.annealing = NoiseAnnealing(self.taus, n, fitting.level_patience, measured.y.device)
        noise = ImageNoise(fitting.seed, "ladder", measured.names)
        self._frozen = torch.stack([noise(measured.y) for _ in self.taus])  # [K, n, C, h, w]
        self._signs = [-1.0 if part == "second" else 1.0 for part in parts]  # the second fit's noise is antithetic too
        self._fit, self._fitting, self._names, self._parts = fit, fitting, measured.names, parts
        self._time = -(-fit.steps // (len(self.taus) * fit.every)) * fit.every  # of a literal level: whole kept steps
        self._y: Tensor | None = None
        self.rows: list[dict] = []

    def target(self, y: Tensor):
        """What the batch is fitted to, as a function of the step."""
        self._y = y

        def at(step: int) -> Tensor:
            if self._fit.annealing == "literal":
                self.annealing.step_down(self.annealing.level < (step - 1) // self._time)
            if self._fit.annealing == "input":
                return y
            return torch.cat([self._noised(part, sign) for part, sign in zip(y.chunk(len(self._signs)), self._signs, strict=True)])

        return at

    def _noised(self, part: Tensor, sign: float) -> Tensor:
        return noised(part, sign * self.annealing.tau, self._frozen, self.annealing.level)

    def input_scale(self, step: int) -> Tensor:
        if self._fit.annealing != "input":
            return torch.ones(len(self._y))
        share = self.annealing.tau / float(self.taus[0])
        return (1 + (self._fitting.input_top - 1) * share).repeat(len(self._signs))

    def look(self, step: int, averages: dict[str, Tensor], risk: RiskEstimate | None) -> None:
        """After a kept step: note what each image has reached at its level, and let those that stall go down."""
        level, tau = self.annealing.level.clone(), self.annealing.tau
        if risk is not None:
            leaves = self.annealing.update(step, risk.estimate([averages["first"], averages["second"]]))
        else:
            leaves = torch.full_like(level, step % self._time == 0, dtype=torch.bool)
        ends = leaves | torch.tensor(step == self._fit.steps)
        if not ends.any():
            return
        first = self._y.chunk(len(self._signs))[0]
        target = first if self._fit.annealing == "input" else noised(first, tau, self._frozen, level)
        mse = (averages[self._parts[0]] - target).square().mean((1, 2, 3))
        psnr = (10 * torch.log10(4 / mse)).tolist()
        for i in ends.nonzero().flatten().tolist():
            row = {"name": self._names[i], "level": int(level[i]), "tau": float(tau[i]), "step": step, "psnr_to_target": psnr[i]}
            self.rows.append(row)
