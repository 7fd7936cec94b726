"""evaluate: hold everything against the clean crops. The only stage of the study that knows how good a restoration is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation import comparisons, figures, tables
from dualprior.evaluation.image_metrics import by_image, image_rows, interval, measured
from dualprior.pipeline.evaluate import AXES, LABELS, ORACLE, judge_ablation, judge_task, roles_of
from dualprior.restoration.registry import HYBRID, REGISTRY, STOPPED
from studies.hybrid import noise_level, strength
from studies.hybrid.params import FULL, NoiseLevels, Strength

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "problems", "strength", "fitting.priors", "noise_levels", "ddpm.training")
PARTS = ("gain_over_better_parent_db", "gain_over_frozen_db", "gain_over_no_random_fit_db", "dip_start_gain_db")


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    wanted: Strength = config.strength
    tasks = list(config.problems)
    manifest = io.read_table(paths.manifest).query("split == 'test'").sort_values("index")
    clean, names = pixels_01(io.read_array(paths.split("test"))), list(manifest["image"])
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)

    def rows_of(place: Paths) -> pd.DataFrame:
        return by_crop(pd.concat([judge_task(place, paths, task, clean, names)[0] for task in tasks], ignore_index=True))

    places = {FULL: paths} | {prior: paths.inside(f"priors/{prior}") for prior in wanted.priors}
    rows = {prior: rows_of(place) for prior, place in places.items()}
    swept = {name: by_crop(mine) for name, mine in judge_ablation(paths, clean, names).items()}
    roles = roles_of(REGISTRY)
    found = study_findings(rows, roles, bounds)
    found["start_rule_share"] = comparisons.start_rule_share(swept["start_scale"], bounds)
    found["blend_limit_db"] = {
        task if prior == FULL else f"{prior}/{task}": comparisons.finding(
            blend_limits(place, task, rows[prior], clean, roles), "dB", bounds
        )
        for prior, place in places.items()
        for task in tasks
    }
    cbm3d = by_crop(io.read_table(paths.metrics("cbm3d.csv")).query("split == 'test'"))
    found["gain_over_cbm3d_db"] = over_others(rows[FULL], cbm3d, roles.hybrid, bounds)
    every = pd.concat([mine.assign(prior=prior) for prior, mine in rows.items()])
    training = config.entry("ddpm", "training")
    axis = strength.curves(every[every["seed"] == 0], roles, training.steps)
    seconds = io.read_json(paths.metrics("run_statistics.json"))["train_ddpm"]["seconds"] / training.steps
    found |= strength.training_saved(axis, training.steps, seconds, bounds)
    io.write_table(paths.metrics("per_image.csv"), every)
    io.write_table(paths.metrics("headline.csv"), comparisons.headline(rows[FULL], roles, found))
    io.write_text(paths.metrics("results.md"), tables.results(rows[FULL], LABELS, {ORACLE}))
    io.write_table(paths.metrics("choices.csv"), choices(paths, tasks))
    louder = at_noise_levels(config.noise_levels, paths, clean, names)
    by_level = pd.concat([rows[FULL][rows[FULL]["task"].isin(cbm3d["task"])], by_crop(louder)])
    by_level = by_level.sort_values("task", key=lambda task: task.str.extract(r"(\d+)")[0].astype(float), kind="stable")
    io.write_table(paths.metrics("noise_levels.csv"), comparisons.headline(by_level, roles, comparisons.findings(by_level, roles, bounds)))
    io.write_figure(paths.plot("noise_levels"), figures.hero(by_level, roles, bounds))
    slow, first_seed = _judge_slow(paths, tasks, clean, names), rows[FULL][rows[FULL]["seed"] == 0]
    found["gain_over_long_chains_db"] = over_others(first_seed, slow[slow["method"] == "chains"], roles.hybrid, bounds)
    io.write_json(paths.metrics("findings.json"), found)
    io.write_table(paths.metrics("dps.csv"), _slow_table(slow, rows[FULL], roles))
    io.write_table(paths.metrics("fitting.csv"), _judge_fitting(paths, config.entry("fitting", "priors"), clean))
    longer = _judge_long_fits(paths, clean, names)
    io.write_table(paths.metrics("long_fits.csv"), longer)
    io.write_figure(paths.plot("long_fits"), strength.figure(longer, {STOPPED: "DIP, mean of the paired fits"}, "DIP fit steps"))
    io.write_figure(paths.plot("hero"), figures.hero(rows[FULL], roles, bounds))
    io.write_figure(paths.plot("prior_strength"), strength.figure(axis, strength.PARENTS, strength.AXIS))
    io.write_figure(paths.plot("starts"), strength.figure(axis, strength.STARTS, strength.AXIS))
    for name, mine in swept.items():
        io.write_figure(paths.plot(f"ablation_{name}"), figures.ablation(mine, AXES[name]))


def at_noise_levels(wanted: NoiseLevels, paths: Paths, clean: np.ndarray, names: list[str]) -> pd.DataFrame:
    """Rows as `judge_task` gives them, of the noise levels that are not those of a task."""
    places = {noise_level.task_name(level): noise_level.place(paths, level) for level in wanted.levels}
    shown = slice(wanted.images)
    return pd.concat([judge_task(place, place, task, clean[shown], names[shown])[0] for task, place in places.items()])


def by_crop(rows: pd.DataFrame) -> pd.DataFrame:
    """image "crop~seed" as the crop, which is the unit of every interval, and its seed."""
    parts = rows["image"].str.partition("~")
    return rows.assign(image=parts[0], seed=parts[2].astype(int))


def study_findings(rows: dict[str, pd.DataFrame], roles: comparisons.Roles, bounds) -> dict:
    """Those of the full prior by task; the gains with a weaker prior as "prior/task"."""
    found = comparisons.findings(rows[FULL], roles, bounds)
    for prior, mine in rows.items():
        if prior == FULL:
            continue
        weaker = comparisons.findings(mine, roles, bounds)
        for question in PARTS:
            found[question] |= {f"{prior}/{task}": value for task, value in weaker[question].items()}
    return found


def over_others(rows: pd.DataFrame, others: pd.DataFrame, hybrid: str, bounds) -> dict:
    """The hybrid over another method, by task. others: task, image, seed and psnr of that method."""
    found = {}
    for task, theirs in others.groupby("task", sort=False):
        ours = rows[(rows["task"] == task) & (rows["method"] == hybrid)].groupby("image", sort=False)["psnr"].mean()
        found[task] = comparisons.finding(ours - theirs.groupby("image")["psnr"].mean()[ours.index], "dB", bounds)
    return found


def blend_limits(place: Paths, task: str, rows: pd.DataFrame, clean: np.ndarray, roles: comparisons.Roles) -> pd.Series:
    """What a weighted mean of the stopped DIP and the best method of diffusion alone could gain at most, in dB by crop.

    The weight of every image is the one that the clean image would choose (Bates & Granger 1969): no blend of the two does
    better.
    """
    images = io.read_tensors_as_arrays(place.restored(task) / "images.safetensors")
    mine = rows[rows["task"] == task]
    best = comparisons.strongest(by_image(mine).dropna(axis=1), roles.of("diffusion"))
    d, f = (to_01(images[name]).astype(float) - clean[: len(images[name])] for name in (best, roles.stopped))
    dd, ff, df = (np.mean(a * b, axis=(1, 2, 3)) for a, b in ((d, d), (f, f), (d, f)))
    weight = np.clip((dd - df) / np.maximum(dd + ff - 2 * df, 1e-12), 0, 1)  # of the DIP
    blend = (1 - weight) ** 2 * dd + weight**2 * ff + 2 * weight * (1 - weight) * df
    gain = pd.Series(10 * np.log10(np.minimum(dd, ff) / blend), index=mine[mine["method"] == best]["image"])
    return gain.groupby(level=0, sort=False).mean()


def choices(paths: Paths, tasks: list[str]) -> pd.DataFrame:
    """What validation crops chose: the network of the DIP, with the PSNR of each, and the parts of the hybrid."""
    table = []
    for task in tasks:
        fits, chosen = io.read_json(paths.dip(task) / "fits.json"), io.read_json(paths.restored(task) / "methods.json")["choices"]
        weights = chosen[HYBRID]["weights"]
        parts = ", ".join(f"{weight:g} {name}" for name, weight in sorted(weights.items(), key=lambda part: -part[1]))
        table.append({"task": task, **fits["val_psnr"], "parts of the hybrid": parts})
    return pd.DataFrame(table)


def _judge_slow(paths: Paths, tasks: list[str], clean: np.ndarray, names: list[str]) -> pd.DataFrame:
    """task, method ("dps" or "chains"), image, seed, psnr and seconds of the slow ways of diffusion."""
    rows = []
    for task in tasks:
        folder = paths.folder("dps") / task
        about = io.read_json(folder / "methods.json")
        for method, x in io.read_tensors_as_arrays(folder / "images.safetensors").items():
            costs = {"task": task, "method": method, "seconds": about[method]["seconds"]}
            rows.append(image_rows(names[: len(x)], clean[: len(x)], to_01(x), **costs))
    return by_crop(pd.concat(rows, ignore_index=True))


def _slow_table(slow: pd.DataFrame, rows: pd.DataFrame, roles: comparisons.Roles) -> pd.DataFrame:
    """A row a task: mean PSNR of the slow ways, and on the same crops of diffusion's best method and of the hybrid.

    rows: of the full prior; the best method is that of all seeds.
    """
    table = []
    for task, mine in slow.groupby("task", sort=False):
        own, psnr = rows[rows["task"] == task], mine.groupby("method")["psnr"].mean()
        same = own[own["image"].isin(mine["image"]) & (own["seed"] == 0)].groupby("method")["psnr"].mean()
        best = comparisons.strongest(by_image(own).dropna(axis=1), roles.of("diffusion"))
        row = {"task": task, "crops": mine["image"].nunique(), "DPS": psnr["dps"], "mean of long chains": psnr["chains"]}
        row |= {"diffusion, its best quick way": same[best], "hybrid": same[roles.hybrid]}
        seconds = mine.groupby("method")["seconds"].first()
        table.append(row | {f"seconds, {name}": value for name, value in seconds.items()})
    return pd.DataFrame(table).round(2)


def _judge_fitting(paths: Paths, priors: tuple[str, ...], clean: np.ndarray) -> pd.DataFrame:
    """Mean PSNR of every kind of fit, a column a prior."""
    columns = {}
    for prior in priors:
        images = io.read_tensors_as_arrays(paths.folder("fitting") / prior / "images.safetensors")
        columns[prior] = {kind: measured("psnr", clean[: len(x)], to_01(x)).mean() for kind, x in images.items()}
    return pd.DataFrame(columns).rename_axis("fit").reset_index().round(2)


def _judge_long_fits(paths: Paths, clean: np.ndarray, names: list[str]) -> pd.DataFrame:
    tables = []
    for folder in sorted(paths.folder("long_fits").iterdir()):
        x = io.read_tensors_as_arrays(folder / "snapshots.safetensors")["snapshots"]
        for step, each in zip(io.read_json(folder / "steps.json")["steps"], x, strict=True):
            rows = image_rows(names[: len(each)], clean[: len(each)], to_01(each), task=folder.name, steps=step, method=STOPPED)
            tables.append(rows[["task", "steps", "image", "method", "psnr"]])
    return pd.concat(tables)
