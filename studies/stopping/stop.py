"""Run every stopping rule over the kept fits of the test images, and time it beside the fit it stops.

Reads measurements, kept fits and the diffusion model, never a clean image. What a rule decides is a step of one of the
fits; how good that step is, stage `judge` says.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from studies.stopping import crops
from studies.stopping.params import Fit, Fitting, Images, Problem, Rules
from studies.stopping.published_rules import (
    DiffusionJudge,
    Discrepancy,
    ExponentialVariance,
    MonteCarloSURE,
    SelfValidation,
    WindowedVariance,
)
from studies.stopping.witnesses import judge_noise, probe, witness_of
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.seeding import generator
from dualprior.degradation.measurement import Measurement
from dualprior.diffusion import checkpoint
from dualprior.diffusion.denoiser import Denoiser
from dualprior.dip import fit as dip
from dualprior.dip.early_stopping import Iterate, Last, LeastEstimate, Rule, StopState
from dualprior.dip.fit import paired_fits

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("images", "fitting", "fits", "problems", "networks", "rules")
OWN = ("split", "held_out", "one_split")  # rules by a witness, tried with every patience
TIMED_STEPS = 12  # fit steps that a rule's time is held against
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    images: Images = config.images
    fitting: Fitting = config.fitting
    rules: Rules = config.rules
    where = device.pick()
    denoise = checkpoint.load(paths, where).denoise
    picks, estimates, costs = [], [], []
    for name, fit in config.fits.items():
        problem: Problem = config.problems[fit.problem]
        streams = io.read_tensors(paths.stopping_fits(name) / "iterates.safetensors")
        steps = io.read_json(paths.stopping_fits(name) / "info.json")["steps"]
        for split in ("val", "test"):
            measured = crops.read(paths, fit.problem, problem, split, images, where)
            kept = {key.removeprefix(f"{split}_"): tensor for key, tensor in streams.items() if key.startswith(split)}
            case = Case(measured, problem, fit, fitting, rules, denoise, kept, steps)
            applied = list(case.apply(own_only=split == "val"))
            picks += [each.picks.assign(fit=name, split=split) for each in applied]
            if split == "test":
                step_seconds = _step_seconds(measured, config.networks[fit.network].model_dump(), fitting)
                costs += [each.cost(name, fit.steps * step_seconds) for each in applied]
                estimates += [each.estimates.assign(fit=name, rule=each.rule) for each in applied if each.estimates is not None]
        log.info("%s: %s", name, ", ".join(each.rule for each in applied))
    io.write_table(paths.stopping_picks, pd.concat(picks, ignore_index=True))
    io.write_table(paths.stopping_estimates, pd.concat(estimates, ignore_index=True))
    io.write_table(paths.stopping_costs, pd.DataFrame(costs))


def _step_seconds(measured: Measurement, network: dict, fitting: Fitting) -> float:
    """Seconds of one step of one fit, on this machine and now, so that a rule's seconds can be held against it."""
    recipe = dip.Recipe.of({**fitting.model_dump(), "network": network})
    steps = dip.fit_images(recipe, measured.op, measured.y, measured.names, measured.size, TIMED_STEPS + 2, device=measured.y.device)
    next(steps), next(steps)  # warm
    with Stopwatch(len(measured.y)) as watch:
        for _ in steps:
            pass
    return watch.seconds / TIMED_STEPS


@dataclass
class Applied:
    """A rule over one batch of fits."""

    rule: str
    picks: pd.DataFrame  # columns rule, stream, name, step, decided_step
    estimates: pd.DataFrame | None  # columns name, step, estimate: of the rules that estimate an error
    fits: int  # fits an image that the rule has run
    seconds: float  # of the rule, an image

    def cost(self, fit: str, fit_seconds: float) -> dict:
        """overhead: the rule's seconds over those of the fits that it has run; fit_seconds: of one fit to its last step."""
        return {"fit": fit, "rule": self.rule, "fits": self.fits, "overhead": self.seconds / (self.fits * fit_seconds)}


@dataclass
class Case:
    """One entry of fits with what was kept of it, and the rules that make sense for it."""

    measured: Measurement
    problem: Problem
    fit: Fit
    fitting: Fitting
    rules: Rules
    denoise: Denoiser
    kept: dict[str, Tensor]  # streams [S, n, ...], see `fit.Streams`
    steps: list[int]

    def apply(self, own_only: bool) -> Iterator[Applied]:
        """own_only: just the rules of which a setting is chosen on validation images."""
        for rule, (stream, fits, make) in self.catalogue().items():
            if rule in OWN or "@" in rule or not own_only:
                yield self._applied(rule, stream, fits, make())

    def catalogue(self) -> dict[str, tuple[str, int, Callable[[], Rule]]]:
        """{rule: (stream it stops, fits an image it needs, how to make it)}; a new rule is one line."""
        rules: dict[str, tuple[str, int, Callable[[], Rule]]] = {}
        risk = witness_of(self.measured, self.problem, self.fit, self.fitting)
        if risk is not None:
            rules["last_pair"] = ("pair", 2, Last)
            rules["es_wmv_pair"] = ("pair", 2, lambda: self._windowed(self.rules.window))
        if risk is not None and self.fit.split != "none":
            own = "split" if self.fit.split == "coupled" else self.fit.split
            rules[own] = ("pair", 2, lambda: paired_fits.stopped_by(risk, None))
        if risk is not None and self.fit.split == "coupled" and risk.parts[0].judge is not None:
            rules["one_split"] = ("first", 1, lambda: LeastEstimate(lambda now: risk.parts[0].judge(now.average)))
        if "whole" in self.kept and self.fit.ladder == "none":
            rules |= self._rivals()
        return rules

    def _rivals(self) -> dict[str, tuple[str, int, Callable[[], Rule]]]:
        """Rules that stop the fit to the whole measurement."""
        r, noisy = self.rules, self.problem.kind != "poisson" and self.measured.sigma_y > 0
        rivals: dict[str, tuple[str, int, Callable[[], Rule]]] = {
            "last": ("whole", 1, Last),
            "es_wmv": ("whole", 1, lambda: self._windowed(r.window)),
            **{f"es_wmv_tuned@{window}": ("whole", 1, partial(self._windowed, window)) for window in r.windows},
            "es_emv": ("whole", 1, lambda: ExponentialVariance(r.rate, r.window_patience, every=self.fit.every)),
            "self_validation": ("whole", 1, lambda: SelfValidation(
                [generator(self.fitting.seed, "self-validation", name) for name in self.measured.names], r.self_validation_window)),
            "diffusion_judge": ("whole", 1, lambda: LeastEstimate(self._diffusion())),
        }  # fmt: skip
        if noisy:
            rivals["discrepancy"] = ("whole", 1, lambda: Discrepancy(self.measured.sigma_y))
        if "probe" in self.kept:
            b = probe(self.measured, self.fitting)
            rivals["sure"] = ("whole", 2, lambda: MonteCarloSURE(self.measured.sigma_y, self.measured.y, b, self.fitting.probe_width))
        return rivals

    def _windowed(self, window: int) -> WindowedVariance:
        rule = WindowedVariance(window, self.rules.window_patience, self.fit.every)
        rule.check_steps(self.fit.steps)
        return rule

    def _diffusion(self) -> Callable[[Iterate], Tensor]:
        levels = list(self.rules.judge_levels)
        judge = DiffusionJudge(self.denoise, levels, judge_noise(self.measured, len(levels), self.fitting.seed))
        wait = self.rules.judge_every * self.fit.every
        return lambda now: judge(now.average) if now.step % wait == 0 else torch.full((len(now.average),), torch.inf)

    def replay(self, stream: str) -> Iterator[Iterate]:
        """The kept iterates of "pair", "first" or "whole" as a rule sees them."""
        for i, step in enumerate(self.steps):
            paired = {name: self.kept[name][i].float() for name in ("first", "second", "probe") if name in self.kept}
            average = (paired["first"] + paired["second"]) / 2 if stream == "pair" else self.kept[stream][i].float()
            output = self.kept.get(f"{stream}_output")
            loss = self.kept[f"{stream}_loss"][i].float() if f"{stream}_loss" in self.kept else torch.zeros(len(average))
            yield Iterate(step, average if output is None else output[i].float(), average, loss, paired)

    def _applied(self, name: str, stream: str, fits: int, rule: Rule) -> Applied:
        steps, told, seconds, names = [], [], 0.0, self.measured.names
        for now in self.replay(stream):
            with Stopwatch(len(names)) as watch:
                rule.update(now)
            seconds += watch.seconds
            if name in OWN or name == "sure":
                steps.append(now.step)
                told.append(rule.last)
        picks = [_table(name, stream, names, rule.stop)]
        if name in OWN:
            picks += [_table(f"{name}@{p}", stream, names, _pick(steps, told, p)) for p in self.rules.patiences]
        estimates = None
        if told:
            tables = [pd.DataFrame({"name": names, "step": step, "estimate": t.tolist()}) for step, t in zip(steps, told, strict=True)]
            estimates = pd.concat(tables, ignore_index=True)
        return Applied(name, pd.concat(picks, ignore_index=True), estimates, fits, seconds)


def _pick(steps: list[int], estimates: list[Tensor], patience: int) -> StopState:
    """The decisions that these estimates [n] at these steps lead to with this patience."""
    pick = StopState(patience)
    for step, estimate in zip(steps, estimates, strict=True):
        pick.offer(step, estimate, estimate.view(-1, 1, 1, 1))
    return pick


def _table(rule: str, stream: str, names: list[str], stop: StopState) -> pd.DataFrame:
    steps = {"step": pick.step.tolist(), "decided_step": pick.decided_step.tolist()}
    return pd.DataFrame({"rule": rule, "stream": stream, "name": names, **steps})
