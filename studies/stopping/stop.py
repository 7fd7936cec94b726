"""stop: run every stopping rule over the kept fits.

Reads measurements, kept fits and the diffusion model, never a clean image. What a rule decides is a step of one of the
fits; how good that step is, stage `evaluate` says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.paths import Paths
from dualprior.common.progress import track
from dualprior.common.seeding import generator
from dualprior.degradation.measurement import Measurement, read_measurement
from dualprior.diffusion import checkpoint
from dualprior.diffusion.denoiser import Denoiser
from dualprior.dip import paired_fits
from dualprior.dip.early_stopping import Iterate, Last, LeastEstimate, Rule, StopState
from dualprior.dip.risk import mean_square
from studies.stopping.params import Fit, Fitting, Rules, each_fit
from studies.stopping.published_rules import (
    DiffusionScore,
    Discrepancy,
    ExponentialVariance,
    MonteCarloSURE,
    SelfValidation,
    WindowedVariance,
)
from studies.stopping.splits import diffusion_noise, probe, risk_of

if TYPE_CHECKING:
    from dualprior.pipeline.config import Config

PARAMS = ("fitting", "fits", "rules")
OWN = ("split", "held_out", "one_split")  # rules by a split of the measurement, tried with every patience


def run(config: Config, paths: Paths) -> None:
    fitting: Fitting = config.fitting
    rules: Rules = config.rules
    where = device.pick()
    denoise = checkpoint.load(Paths(paths.root, "hybrid").models, where).denoise
    stops, estimates = [], []
    for name, key, fit in track(each_fit(config.fits), "stop"):
        folder = paths.folder("fits") / key / name
        streams, steps = io.read_tensors(folder / "iterates.safetensors"), io.read_json(folder / "info.json")["steps"]
        for split in ("val", "test"):
            measured = read_measurement(paths.measurements(key), split, where)
            kept = {key.removeprefix(f"{split}_"): tensor for key, tensor in streams.items() if key.startswith(split)}
            case = Case(measured, fit, fitting, rules, denoise, kept, steps)
            applied = list(case.apply(own_only=split == "val"))
            stops += [each.stops.assign(fit=name, split=split) for each in applied]
            if split == "test":
                estimates += [each.estimates.assign(fit=name, rule=each.rule) for each in applied if each.estimates is not None]
    for file, tables in (("stops", stops), ("estimates", estimates)):
        io.write_table(paths.folder("stopped") / f"{file}.csv", pd.concat(tables, ignore_index=True))


@dataclass
class Applied:
    """A rule over one batch of fits."""

    rule: str
    stops: pd.DataFrame  # columns rule, stream, name, step, decided_step
    estimates: pd.DataFrame | None  # columns name, step, estimate: of the rules that estimate an error


@dataclass
class Case:
    """One entry of fits with what was kept of it, and the rules that make sense for it."""

    measured: Measurement
    fit: Fit
    fitting: Fitting
    rules: Rules
    denoise: Denoiser
    kept: dict[str, Tensor]  # streams [S, n, ...], see `fit.Streams`
    steps: list[int]

    def apply(self, own_only: bool) -> Iterator[Applied]:
        """own_only: just the rules of which a setting is chosen on validation images."""
        for rule, (stream, make) in self.catalogue().items():
            if rule in OWN or "@" in rule or not own_only:
                yield self._applied(rule, stream, make())

    def catalogue(self) -> dict[str, tuple[str, Callable[[], Rule]]]:
        """{rule: (stream it stops, how to make it)}; a new rule is one line."""
        rules: dict[str, tuple[str, Callable[[], Rule]]] = {}
        risk = risk_of(self.measured, self.fit, self.fitting)
        if risk is not None:
            rules["last_pair"] = ("pair", Last)
            rules["es_wmv_pair"] = ("pair", lambda: self._windowed(self.rules.window))
        if self.fit.split == "none" and self.measured.sigma_y > 0:
            rules["discrepancy_pair"] = ("pair", lambda: Discrepancy(self.measured.sigma_y))
        if risk is not None and self.fit.split != "none":
            own = "split" if self.fit.split == "recorrupted" else self.fit.split
            rules[own] = ("pair", lambda: paired_fits.stopped_by(risk, None))
        if risk is not None and self.fit.split == "recorrupted" and risk.splits[0].risk is not None:
            rules["one_split"] = ("first", lambda: LeastEstimate(lambda now: risk.splits[0].risk(now.average)))
        if "whole" in self.kept and self.fit.annealing == "none":
            rules |= self._published()
        return rules

    def _published(self) -> dict[str, tuple[str, Callable[[], Rule]]]:
        """Rules of others, that stop the fit to the whole measurement."""
        r = self.rules
        published: dict[str, tuple[str, Callable[[], Rule]]] = {
            "last": ("whole", Last),
            "es_wmv": ("whole", lambda: self._windowed(r.window)),
            **{f"es_wmv_tuned@{window}": ("whole", partial(self._windowed, window)) for window in r.windows},
            "es_emv": ("whole", lambda: ExponentialVariance(r.rate, r.window_patience, every=self.fit.every)),
            "self_validation": ("whole", lambda: SelfValidation(
                [generator(self.fitting.seed, "self-validation", name) for name in self.measured.names], r.self_validation_window)),
            "diffusion_score": ("whole", lambda: LeastEstimate(self._diffusion())),
        }  # fmt: skip
        if self.measured.sigma_y > 0:
            published["discrepancy"] = ("whole", lambda: Discrepancy(self.measured.sigma_y))
        if "probe" in self.kept:
            b = probe(self.measured, self.fitting)
            published["sure"] = ("whole", lambda: MonteCarloSURE(self.measured.sigma_y, self.measured.y, b, self.fitting.probe_width))
        return published

    def _windowed(self, window: int) -> WindowedVariance:
        rule = WindowedVariance(window, self.rules.window_patience, self.fit.every)
        rule.check_steps(self.fit.steps)
        return rule

    def _diffusion(self) -> Callable[[Iterate], Tensor]:
        levels = list(self.rules.diffusion_levels)
        score = DiffusionScore(self.denoise, levels, diffusion_noise(self.measured, len(levels), self.fitting.seed))
        wait = self.rules.diffusion_every * self.fit.every
        return lambda now: score(now.average) if now.step % wait == 0 else torch.full((len(now.average),), torch.inf)

    def replay(self, stream: str) -> Iterator[Iterate]:
        """The kept iterates of "pair", "first" or "whole" as a rule sees them."""
        for i, step in enumerate(self.steps):
            paired = {name: self.kept[name][i].float() for name in ("first", "second", "probe") if name in self.kept}
            average = (paired["first"] + paired["second"]) / 2 if stream == "pair" else self.kept[stream][i].float()
            output = self.kept[f"{stream}_output"][i].float() if f"{stream}_output" in self.kept else average
            own = self.kept.get(f"{stream}_loss")
            yield Iterate(step, output, average, self._residual(paired) if own is None else own[i].float(), paired)

    def _residual(self, paired: dict[str, Tensor]) -> Tensor:
        """Mean squared residual of the two fits, [n]."""
        return sum(mean_square(self.measured.op.A(paired[name]) - self.measured.y) for name in ("first", "second")) / 2

    def _applied(self, name: str, stream: str, rule: Rule) -> Applied:
        steps, told, names = [], [], self.measured.names
        for now in self.replay(stream):
            rule.update(now)
            if name in OWN or name == "sure":
                steps.append(now.step)
                told.append(rule.last)
        stops = [_table(name, stream, names, rule.stop)]
        if name in OWN:
            stops += [_table(f"{name}@{p}", stream, names, _stop(steps, told, p)) for p in self.rules.patiences]
        estimates = None
        if told:
            tables = [pd.DataFrame({"name": names, "step": step, "estimate": t.tolist()}) for step, t in zip(steps, told, strict=True)]
            estimates = pd.concat(tables, ignore_index=True)
        return Applied(name, pd.concat(stops, ignore_index=True), estimates)


def _stop(steps: list[int], estimates: list[Tensor], patience: int) -> StopState:
    """The decisions that these estimates [n] at these steps lead to with this patience."""
    stop = StopState(patience)
    for step, estimate in zip(steps, estimates, strict=True):
        stop.offer(step, estimate, estimate.view(-1, 1, 1, 1))
    return stop


def _table(rule: str, stream: str, names: list[str], stop: StopState) -> pd.DataFrame:
    steps = {"step": stop.step.tolist(), "decided_step": stop.decided_step.tolist()}
    return pd.DataFrame({"rule": rule, "stream": stream, "name": names, **steps})
