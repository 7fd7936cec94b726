"""Fit a Deep Image Prior to the measurements of one problem and keep every few iterates, for any rule to be tried on.

Reads measurements only. In one batch: the two fits of the witness, and where asked one to the whole measurement (which
the rivals stop) and one to a probed copy of it (which SURE needs). No stopping rule is run here, so a new rule reruns
no fit; a ladder, which changes what is fitted, is.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from studies.stopping import crops
from studies.stopping.noise_annealing import Ladder, noised
from studies.stopping.params import Fit, Fitting, Images, Problem
from studies.stopping.witnesses import probe, whole, witness_of
from torch import Tensor
from tqdm.auto import tqdm

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.params import DIPNetwork
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.measurement import Measurement
from dualprior.degradation.operators import Mask, Operator
from dualprior.diffusion import schedule
from dualprior.dip import fit as dip
from dualprior.dip.risk import MeasurementSplit, RiskEstimate
from dualprior.evaluation import image_metrics

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("images", "fitting", "fits.{key}", "problems.{problem}", "networks.{network}")
LITERAL_LEVEL = 0.2  # noise, in [-1, 1] units, that a ladder on a clean image starts from in units of fitting.top
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the entry of fits."""
    images: Images = config.images
    fitting: Fitting = config.fitting
    fit: Fit = config.entry("fits", key)
    problem: Problem = config.entry("problems", fit.problem)
    network: DIPNetwork = config.entry("networks", fit.network)
    where = device.pick()
    recipe = dip.Recipe.of({**fitting.model_dump(), "network": network.model_dump()})
    tensors, info = {}, {"steps": kept_steps(fit), "problem": fit.problem, "rungs": []}
    for split in ("val", "test"):
        measured = crops.read(paths, fit.problem, problem, split, images, where)
        done = fit_all(measured, problem, fit, fitting, recipe)
        tensors |= {f"{split}_{name}": stack for name, stack in done.streams.items()}
        info["rungs"] += [{"split": split, **row} for row in done.rungs]
        info[split] = {"fits": done.count, "seconds_per_step": done.seconds_per_step}
        log.info("%s: %d %s fits, %.2f ms a step and fit", key, done.count, split, 1e3 * done.seconds_per_step)
    io.write_tensors(paths.stopping_fits(key) / "iterates.safetensors", tensors)
    io.write_json(paths.stopping_fits(key) / "info.json", info)


def kept_steps(fit: Fit) -> list[int]:
    return list(range(fit.every, fit.steps + 1, fit.every))


@dataclass
class Streams:
    """What was kept of a batch of fits.

    streams: by name, float16 [S, n, C, H, W]: averages "first" and "second" of the pair, "whole", "probe"; raw outputs
    "pair_output" (of the pair's mean) and "whole_output"; "whole_loss" [S, n]. Exact data are laid over the averages.
    """

    streams: dict[str, Tensor]
    rungs: list[dict]
    count: int  # fits in the batch
    seconds_per_step: float  # of one fit


def fit_all(measured: Measurement, problem: Problem, fit: Fit, fitting: Fitting, recipe: dip.Recipe) -> Streams:
    n, device_ = len(measured.y), measured.y.device
    risk = witness_of(measured, problem, fit, fitting)
    parts = _parts(measured, problem, fit, fitting, risk)
    names = [f"{name}/2" if part == "second" else name for part in parts for name in measured.names]
    y = torch.cat([part.y for part in parts.values()])
    rungs = _Rungs(measured, fit, fitting, list(parts)) if fit.ladder != "none" else None
    steps = dip.fit_images(
        recipe, measured.op[[*range(n)] * len(parts)], y if rungs is None else rungs.target(y), names, measured.size, fit.steps,
        device=device_, keep=_keep(parts, measured.op), input_scale=None if rungs is None else rungs.input_scale,
    )  # fmt: skip
    kept: dict[str, list[Tensor]] = {}
    with Stopwatch(len(names)) as watch:
        for done in tqdm(steps, total=fit.steps, unit="step", mininterval=5, disable=None):
            if done.step % fit.every == 0:
                averages = dict(zip(parts, done.average.chunk(len(parts)), strict=True))
                for name, tensor in _shown(done, averages, list(parts), measured, problem).items():
                    kept.setdefault(name, []).append(tensor.half().cpu())
                if rungs is not None:
                    rungs.look(done.step, averages, risk)
    stacked = {name: torch.stack(tensors) for name, tensors in kept.items()}
    return Streams(stacked, [] if rungs is None else rungs.rows, len(names), watch.seconds / fit.steps)


def _parts(measured: Measurement, problem: Problem, fit: Fit, fitting: Fitting, risk: RiskEstimate | None) -> dict[str, MeasurementSplit]:
    """What is fitted side by side, by name."""
    parts = {} if risk is None else dict(zip(("first", "second"), risk.parts, strict=True))
    if fit.whole:
        parts["whole"] = whole(measured, problem)
    if fit.probe:
        parts["probe"] = MeasurementSplit(measured.y + fitting.probe_width * probe(measured, fitting))
    return parts


def _keep(parts: dict[str, MeasurementSplit], op: Operator) -> Tensor | None:
    """The values to fit of all parts together; None where the operator decides."""
    if all(part.keep is None for part in parts.values()):
        return None
    return torch.cat([(_measured(op, part.y) if part.keep is None else part.keep).expand_as(part.y) for part in parts.values()])


def _measured(op: Operator, y: Tensor) -> Tensor:
    return op.mask.to(y) if isinstance(op, Mask) else torch.ones_like(y)


def _shown(done: dip.DIPStep, averages: dict[str, Tensor], parts: list[str], measured: Measurement, problem: Problem) -> dict[str, Tensor]:
    """The tensors of one step that are kept, by stream. Exact data are laid over them, but not where the whole image is measured."""
    outputs = dict(zip(parts, done.output.chunk(len(parts)), strict=True))
    losses = dict(zip(parts, done.loss.chunk(len(parts)), strict=True))
    shown = dict(averages)
    if "second" in parts:
        shown["pair_output"] = (outputs["first"] + outputs["second"]) / 2
    if "whole" in parts:
        shown["whole_output"] = outputs["whole"]
    if problem.operator != "identity":
        shown = {name: project_on_exact_data(measured.op, image, measured.y, measured.sigma_y) for name, image in shown.items()}
    if "whole" in parts:
        shown["whole_loss"] = losses["whole"].float()
    return shown


class _Rungs:
    """The ladder of one batch: where every image stands, what it is fitted to, and the row of every rung it leaves."""

    def __init__(self, measured: Measurement, fit: Fit, fitting: Fitting, parts: list[str]):
        n = len(measured.y)
        start = fitting.top * (measured.sigma_y or LITERAL_LEVEL)
        self.taus = schedule.few_step_grid(start, fitting.rungs - 1)
        self.ladder = Ladder(self.taus, n, fitting.rung_patience, measured.y.device)
        noise = ImageNoise(fitting.seed, "ladder", measured.names)
        self._frozen = torch.stack([noise(measured.y) for _ in self.taus])  # [K, n, C, h, w]
        self._signs = [-1.0 if part == "second" else 1.0 for part in parts]  # the twin's rungs are antithetic too
        self._fit, self._fitting, self._names, self._parts = fit, fitting, measured.names, parts
        self._time = -(-fit.steps // (len(self.taus) * fit.every)) * fit.every  # of a literal rung: whole kept steps
        self._y: Tensor | None = None
        self.rows: list[dict] = []

    def target(self, y: Tensor):
        """What the batch is fitted to, as a function of the step."""
        self._y = y

        def at(step: int) -> Tensor:
            if self._fit.ladder == "literal":
                self._descend_on_time(step)
            if self._fit.ladder == "input":
                return y
            return torch.cat([self._noised(part, sign) for part, sign in zip(y.chunk(len(self._signs)), self._signs, strict=True)])

        return at

    def _noised(self, part: Tensor, sign: float) -> Tensor:
        return noised(part, sign * self.ladder.tau, self._frozen, self.ladder.rung)

    def _descend_on_time(self, step: int) -> None:
        due = (step - 1) // self._time
        self.ladder.climb_down(self.ladder.rung < due)

    def input_scale(self, step: int) -> Tensor:
        if self._fit.ladder != "input":
            return torch.ones(len(self._y))
        share = self.ladder.tau / float(self.taus[0])
        return (1 + (self._fitting.input_top - 1) * share).repeat(len(self._signs))

    def look(self, step: int, averages: dict[str, Tensor], risk: RiskEstimate | None) -> None:
        """After a kept step: note what each image has reached on its rung, and let those that stall go down."""
        rung, tau = self.ladder.rung.clone(), self.ladder.tau
        estimate = None if risk is None else risk.estimate([averages["first"], averages["second"]])
        if risk is not None:
            leaves = self.ladder.update(step, estimate)
        else:
            leaves = torch.full_like(rung, step % self._time == 0, dtype=torch.bool)
        ends = leaves | torch.tensor(step == self._fit.steps)
        if not ends.any():
            return
        first = self._y.chunk(len(self._signs))[0]
        target = first if self._fit.ladder == "input" else noised(first, tau, self._frozen, rung)
        psnr, ssim = _quality(target, averages[self._parts[0]])
        for i in ends.nonzero().flatten().tolist():
            self.rows.append({
                "name": self._names[i], "rung": int(rung[i]), "tau": float(tau[i]), "step": step,
                "psnr_to_target": float(psnr[i]), "ssim_to_target": float(ssim[i]),
                "estimate": None if estimate is None else float(estimate[i]),
            })  # fmt: skip


def _quality(target: Tensor, image: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """PSNR and SSIM of a fit against its rung's own (noisy, unclipped) target: [n] each."""
    a, b = ((x.float().cpu().numpy().transpose(0, 2, 3, 1) + 1) / 2 for x in (target, image))
    return image_metrics.psnr(a, b), image_metrics.ssim(a, b)
