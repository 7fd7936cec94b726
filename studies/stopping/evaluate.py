"""evaluate: hold every stop against the clean images. The only stage that knows how good a stop was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation.image_metrics import interval, measured
from studies.stopping import plots
from studies.stopping.degrade import chosen
from studies.stopping.findings import OURS, RULES, findings
from studies.stopping.params import Fit, Images, Problem, each_fit

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("images", "fits", "problems", "evaluate")
SLACK_DB = 0.01  # a longer patience or window must earn so much
TUNED = {"split": "noisy", "es_wmv_tuned": "denoising"}  # rules whose setting is chosen on validation images, and of which fits
LIKE = {"one_split": "split", "held_out": "split"}  # rules that take over another one's choice


def run(config: Config, paths: Paths) -> None:
    wanted: Images = config.images
    settings: Evaluate = config.evaluate
    fits = each_fit(config.fits)
    problems: dict[str, Problem] = config.problems
    measured_of, clean = {}, {}
    for problem, split in product(problems, ("val", "test")):
        measured_of[problem, split], pixels = chosen(paths, split, problems[problem], wanted)
        clean[problem, split] = pixels_01(pixels)
    images = pd.concat([rows.assign(index=range(len(rows))) for rows in measured_of.values()]).drop_duplicates("name")
    stops, estimates = (io.read_table(paths.folder("stopped") / f"{name}.csv") for name in ("stops", "estimates"))
    curves, annealed, names = {}, [], {}
    for name, problem, fit in fits:
        folder = paths.folder("fits") / problem / name
        kept, info = io.read_tensors_as_arrays(folder / "iterates.safetensors"), io.read_json(folder / "info.json")
        names[name] = list(measured_of[problem, "test"]["name"])
        curves[name] = {
            (split, stream): Curve.of(info["steps"], iterates, clean[problem, split])
            for split in ("val", "test")
            for stream, iterates in _streams(kept, split)
        }
        annealed += [{"fit": name, **row} for row in info["levels"] if row["split"] == "test"]
    stops = pd.concat([stops, *(_fixed(name, curves[name], names[name]) for name in names)], ignore_index=True)
    described = pd.DataFrame([_described(name, key, fit, problems[key]) for name, key, fit in fits])
    tried = _rows(stops, curves, images.set_index("name")).merge(described, on="fit")
    rows = _as_chosen(tried[tried["split"] == "test"].drop(columns="split"), best_settings(tried))
    told = estimates.assign(predicted_psnr=10 * np.log10(4 / estimates["estimate"].clip(lower=1e-6)))
    rows = rows.merge(told[["fit", "rule", "name", "step", "predicted_psnr"]], on=["fit", "rule", "name", "step"], how="left")
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    found = findings(rows, bounds)
    io.write_json(paths.metrics("findings.json"), found)
    io.write_table(paths.metrics("rows.csv"), rows)
    columns = ["fit", "split", "name", "level", "tau", "step", "psnr_to_target"]
    io.write_table(paths.metrics("annealing_levels.csv"), pd.DataFrame(annealed, columns=columns))
    io.write_figure(paths.plot("losses"), plots.losses(found["stopping_loss_db"], RULES, OURS))
    io.write_figure(paths.plot("stops"), plots.stops(rows, curves, names))


def best_settings(tried: pd.DataFrame) -> dict[str, int]:
    """{rule: setting}: the smallest whose mean loss on validation images is within `SLACK_DB` of the least.

    tried: rows of both splits, with rules called "rule@setting". The patience is for all noisy data; a window of ES-WMV for
    those that denoise, as it is made for noise.
    """
    mine = tried[tried["plain"] & ~tried["leaks"] & (tried["split"] == "val")]
    best = {}
    for rule, fits in TUNED.items():
        own = mine[(~mine["exact"] if fits == "noisy" else mine["denoising"]) & mine["rule"].str.startswith(f"{rule}@")]
        loss = own.groupby(own["rule"].str.partition("@")[2].astype(int))["gap"].mean()
        if len(loss):
            best[rule] = int(loss.index[loss <= loss.min() + SLACK_DB].min())
    return best | {rule: best[model] for rule, model in LIKE.items() if model in best}


@dataclass(frozen=True)
class Curve:
    """How good every kept iterate is: steps [S]; psnr [S, n] in dB, of the clipped image."""

    steps: list[int]
    psnr: np.ndarray

    @classmethod
    def of(cls, steps: list[int], iterates: Iterable[np.ndarray], clean: np.ndarray) -> Curve:
        """iterates: S of [n, C, H, W] in [-1, 1]; clean: [n, H, W, C] in [0, 1]."""
        return cls(steps, np.stack([measured("psnr", clean, to_01(x)) for x in iterates]))

    def at(self, step: int, index: int) -> float:
        return float(self.psnr[self.steps.index(step), index])


def _streams(kept: dict[str, np.ndarray], split: str) -> Iterator[tuple[str, Iterable[np.ndarray]]]:
    """(stream, its iterates) of what a rule may stop: the pair's mean, its first fit, the fit to the whole."""
    first, second = kept.get(f"{split}_first"), kept.get(f"{split}_second")
    if second is not None:
        yield "pair", ((a.astype(np.float32) + b) / 2 for a, b in zip(first, second, strict=True))
        yield "first", first
    if f"{split}_whole" in kept:
        yield "whole", kept[f"{split}_whole"]


def _fixed(name: str, curves: dict, names: list[str]) -> pd.DataFrame:
    """The rule "fixed": the step of the best mean PSNR over the validation images of the same fits."""
    rows = []
    for stream, rule in (("whole", "fixed"), ("pair", "fixed_pair")):
        if ("val", stream) in curves:
            curve = curves["val", stream]
            step = curve.steps[int(curve.psnr.mean(axis=1).argmax())]
            stops = {"step": step, "decided_step": step}
            rows.append(pd.DataFrame({"fit": name, "split": "test", "rule": rule, "stream": stream, "name": names, **stops}))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()


def _as_chosen(rows: pd.DataFrame, chosen: dict[str, int]) -> pd.DataFrame:
    """ "rule@setting" with the chosen setting becomes "rule", and the same rule without a setting "rule_patient".

    Of exact data the rule is the one that sees the whole fit (as stage fit_dip does) and the other "rule_impatient": there
    is no noise to be fitted, so to be late costs less than to be early.
    """
    family, _, setting = (rows["rule"].str.partition("@")[column] for column in range(3))
    with_setting = setting == family.map({rule: str(value) for rule, value in chosen.items()})
    without = setting == ""
    both = family.isin(set(family[without]) & set(chosen))  # rules tried with settings and without
    name = family.mask(both & without & ~rows["exact"], family + "_patient").mask(
        both & with_setting & rows["exact"], family + "_impatient"
    )
    return rows.assign(rule=name)[without | with_setting]


def _described(name: str, key: str, fit: Fit, problem: Problem) -> dict:
    return {
        "fit": name, "network": fit.network,
        "problem": key, "denoising": problem.denoising, "leaks": problem.leaks, "split_kind": fit.split,
        "noise_level": fit.noise_level, "annealing": fit.annealing, "input_scale": fit.input_scale, "plain": fit.plain,
        "exact": problem.hides and problem.sigma_y == 0, "whole": problem.whole_photographs,
    }  # fmt: skip


def _rows(stops: pd.DataFrame, curves: dict, images: pd.DataFrame) -> pd.DataFrame:
    """One row a fit, rule and measurement: the PSNR of the stop, the peak of the fit it stopped, and of the fit to all of y.

    images: by name, index among its split's measurements, image and seed.
    """
    rows = []
    for stop in stops.itertuples():
        index, curve = images.at[stop.name, "index"], curves[stop.fit][stop.split, stop.stream]
        psnr, peak = curve.at(stop.step, index), float(curve.psnr[:, index].max())
        whole = curves[stop.fit].get((stop.split, "whole"))
        rows.append({
            "split": stop.split, "fit": stop.fit, "rule": stop.rule, "stream": stop.stream, "name": stop.name,
            "image": images.at[stop.name, "image"], "seed": images.at[stop.name, "seed"], "step": stop.step,
            "decided_step": stop.decided_step, "peak_step": curve.steps[int(curve.psnr[:, index].argmax())],
            "psnr": round(psnr, 4), "peak": round(peak, 4), "gap": round(peak - psnr, 4),
            "whole_peak": None if whole is None else round(float(whole.psnr[:, index].max()), 4),
        })  # fmt: skip
    return pd.DataFrame(rows)
