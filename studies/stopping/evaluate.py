"""Hold every stop against the clean images: rows, tables, claims and plots. The only stage that knows how good a stop was."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from studies.stopping import claims, plots, readings, report
from studies.stopping.crops import chosen
from studies.stopping.params import Fit, Guide, Images, Judging, Problem

from dualprior.common.io import read_array, read_json, read_table, read_tensors_as_arrays, write_figure, write_json, write_table, write_text
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation import image_metrics

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("images", "fits", "problems", "networks", "guide", "judging")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    images: Images = config.images
    judging: Judging = config.judging
    fits: dict[str, Fit] = config.fits
    problems: dict[str, Problem] = config.problems
    manifest = read_table(paths.manifest)
    crops = {split: chosen(manifest, split, images) for split in ("val", "test")}
    clean = {
        split: pixels_01(read_array(path))[crops[split]["index"].to_numpy()] for split, path in (("val", paths.val), ("test", paths.test))
    }
    picks, estimates, costs = (read_table(path) for path in (paths.stopping_picks, paths.stopping_estimates, paths.stopping_costs))
    curves, rungs = {}, []
    for name in fits:
        kept = read_tensors_as_arrays(paths.stopping_fits(name) / "iterates.safetensors")
        info = read_json(paths.stopping_fits(name) / "info.json")
        curves[name] = {
            (split, stream): Curve.of(info["steps"], iterates, clean[split])
            for split in clean
            for stream, iterates in _streams(kept, split)
        }
        rungs += [{"fit": name, **row} for row in info["rungs"] if row["split"] == "test"]
        log.info("%s judged", name)
    picks = pd.concat([picks, *(_fixed(name, curves[name], crops["test"]["name"]) for name in fits)], ignore_index=True)
    described = pd.DataFrame([_described(name, fit, problems[fit.problem], config.networks[fit.network]) for name, fit in fits.items()])
    tried = _rows(picks, curves, crops).merge(described, on="fit")
    tuned = report.tuned(tried)
    rows = _as_chosen(tried[tried["split"] == "test"].drop(columns="split"), report.chosen(tuned))
    calibration = _calibration(estimates, curves, crops["test"]).merge(described, on="fit")
    guided = _guided(paths, config.guide, clean["test"], crops["test"])
    bootstrap = claims.Bootstrap(judging.bootstrap, judging.confidence, judging.seed)
    judged = claims.judge(rows, calibration, costs, bootstrap)
    tables = {"tuned": tuned} | report.tables(rows, calibration, costs, pd.DataFrame(rungs).merge(described, on="fit"), guided, bootstrap)

    write_table(paths.study_table("rows"), rows.drop(columns=["kind", "channels"]))
    for name, table in tables.items():
        write_table(paths.study_table(name), table)
    write_json(paths.claims, judged)
    write_json(paths.summary, report.summary(rows))
    write_text(paths.study_tables, readings.page(tables, judged))
    write_figure(paths.study_plot("stops"), drawing.stops(rows, curves, list(crops["test"]["name"]), judging.shown))
    write_figure(paths.study_plot("gaps"), drawing.gaps(rows))
    write_figure(paths.study_plot("calibration"), drawing.calibration(calibration, judged))
    write_figure(paths.study_plot("tasks"), drawing.tasks(tables["tasks"]))
    write_figure(paths.study_plot("rungs"), drawing.rungs(tables["rungs"]))
    write_figure(paths.study_plot("guided"), drawing.guided(tables["guided"]))
    for name, claim in judged.items():
        log.info("%s %s: %s", "holds" if claim["holds"] else "FAILS", name, claim["reading"])


@dataclass(frozen=True)
class Curve:
    """How good every kept iterate is: steps [S]; psnr [S, n] in dB, of the clipped image; error [S, n], mean squared, of
    the image as it is, in [-1, 1] units."""

    steps: list[int]
    psnr: np.ndarray
    error: np.ndarray

    @classmethod
    def of(cls, steps: list[int], iterates: Iterable[np.ndarray], clean: np.ndarray) -> Curve:
        """iterates: S of [n, C, H, W] in [-1, 1]; clean: [n, H, W, C] in [0, 1]."""
        truth = 2 * clean.transpose(0, 3, 1, 2) - 1
        quality = [(image_metrics.psnr(clean, to_01(x)), np.square(x.astype(np.float32) - truth).mean((1, 2, 3))) for x in iterates]
        psnr, error = (np.stack(column) for column in zip(*quality, strict=True))
        return cls(steps, psnr, error)

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


def _fixed(name: str, curves: dict, names: pd.Series) -> pd.DataFrame:
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


def _described(name: str, fit: Fit, problem: Problem, network) -> dict:
    return {
        "fit": name, "network": fit.network, "kind": network.kind, "channels": "-".join(map(str, network.channels)),
        "problem": fit.problem, "denoising": problem.denoising, "leaks": problem.leaks, "split_kind": fit.split,
        "noise_level": fit.noise_level, "ladder": fit.ladder, "plain": fit.plain,
        "exact": problem.operator != "identity" and problem.sigma_y == 0,
    }  # fmt: skip


def _rows(picks: pd.DataFrame, curves: dict, crops: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """One row a fit, rule and measurement: the PSNR of the stop, the peak of the fit it stopped, and of the fit to all of y."""
    places = {(split, name): index for split, table in crops.items() for index, name in enumerate(table["name"])}
    rows = []
    for pick in picks.itertuples():
        index, curve = places[pick.split, pick.name], curves[pick.fit][pick.split, pick.stream]
        psnr, peak = curve.at(pick.step, index), float(curve.psnr[:, index].max())
        whole = curves[pick.fit].get((pick.split, "whole"))
        rows.append({
            "split": pick.split, "fit": pick.fit, "rule": pick.rule, "stream": pick.stream, "name": pick.name,
            "image": crops[pick.split]["image"].iat[index], "seed": crops[pick.split]["seed"].iat[index], "step": pick.step,
            "decided_step": pick.decided_step, "peak_step": curve.steps[int(curve.psnr[:, index].argmax())],
            "psnr": round(psnr, 4), "peak": round(peak, 4), "gap": round(peak - psnr, 4),
            "whole_peak": None if whole is None else round(float(whole.psnr[:, index].max()), 4),
        })  # fmt: skip
    return pd.DataFrame(rows)


def _calibration(estimates: pd.DataFrame, curves: dict, crops: pd.DataFrame) -> pd.DataFrame:
    """Every running estimate beside the true mean squared error, and how far the iterate is below its fit's peak."""
    streams = {"split": "pair", "held_out": "pair", "one_split": "first", "sure": "whole"}
    places = {name: index for index, name in enumerate(crops["name"])}
    tables = []
    for (fit, rule), group in estimates.groupby(["fit", "rule"], sort=False):
        curve = curves[fit]["test", streams[rule]]
        step_place = {step: i for i, step in enumerate(curve.steps)}
        at = group["step"].map(step_place).to_numpy(), group["name"].map(places).to_numpy()
        below = curve.psnr.max(axis=0)[at[1]] - curve.psnr[at]
        tables.append(group.assign(image=group["name"].str.rpartition("~")[0], true=curve.error[at], decibels_to_peak=below))
    return pd.concat(tables, ignore_index=True)


def _guided(paths: Paths, guide: Guide, clean: np.ndarray, crops: pd.DataFrame) -> pd.DataFrame:
    """One row a problem, extra term and measurement."""
    tables = []
    for problem in guide.problems:
        images = read_tensors_as_arrays(paths.stopping_guided(problem) / "images.safetensors")
        info = read_json(paths.stopping_guided(problem) / "info.json")
        for term, about in info.items():
            quality = image_metrics.psnr(clean, to_01(images[term]))
            about = {"weight": about["weight"], "step": about["stop_step"], "seconds": about["seconds"]}
            tables.append(crops[["name", "image", "seed"]].assign(problem=problem, term=term, psnr=quality, **about))
    return pd.concat(tables, ignore_index=True)
