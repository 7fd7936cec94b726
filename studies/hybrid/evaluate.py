"""evaluate: hold everything against the clean crops. The only stage of the study that knows how good a restoration is."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation import comparisons, figures
from dualprior.evaluation.image_metrics import interval, measured
from dualprior.pipeline.evaluate import AXES, judge_ablation, judge_task, roles_of
from dualprior.restoration.registry import REGISTRY
from studies.hybrid.realism import PerceptualQuality

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "problems", "priors", "prior_tasks")


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    manifest = io.read_table(paths.manifest).query("split == 'test'").sort_values("index")
    pixels, names = io.read_array(paths.split("test")), list(manifest["image"])
    clean = pixels_01(pixels)
    bounds = partial(interval, resamples=settings.bootstrap, confidence=settings.confidence, seed=settings.seed)

    def rows_of(place: Paths, tasks) -> pd.DataFrame:
        return by_crop(pd.concat([judge_task(place, paths, task, clean, names)[0] for task in tasks], ignore_index=True))

    rows = {"full": rows_of(paths, config.problems)}
    rows |= {prior: rows_of(paths.inside(f"priors/{prior}"), config.prior_tasks) for prior in config.priors}
    swept = {name: by_crop(mine) for name, mine in judge_ablation(paths, clean, names).items()}
    roles = roles_of(REGISTRY)
    found = study_findings(rows, roles, bounds)
    found["start_rule_share"] = comparisons.start_rule_share(swept["start_scale"], bounds)
    io.write_json(paths.metrics("findings.json"), found)
    io.write_table(paths.metrics("per_image.csv"), pd.concat([each.assign(prior=prior) for prior, each in rows.items()]))
    _write_the_rest(paths, clean, PerceptualQuality(settings, pixels))
    io.write_figure(paths.plot("hero"), figures.hero(rows["full"], roles, bounds))
    for name, mine in swept.items():
        io.write_figure(paths.plot(f"ablation_{name}"), figures.ablation(mine, AXES[name]))


def by_crop(rows: pd.DataFrame) -> pd.DataFrame:
    """image "crop~seed" as the crop, which is the unit of every interval, and its seed."""
    parts = rows["image"].str.partition("~")
    return rows.assign(image=parts[0], seed=parts[2].astype(int))


def study_findings(rows: dict[str, pd.DataFrame], roles: comparisons.Roles, bounds) -> dict:
    """Those of the full prior by task; the gains with a weaker prior as "prior/task"."""
    found = comparisons.findings(rows["full"], roles, bounds)
    for prior, mine in rows.items():
        if prior == "full" or mine.empty:
            continue
        weaker = comparisons.findings(mine, roles, bounds)
        for question in ("gain_over_better_parent_db", "gain_over_frozen_db", "gain_over_no_random_fit_db"):
            found[question] |= {f"{prior}/{task}": value for task, value in weaker[question].items()}
    return found


def _write_the_rest(paths: Paths, clean, quality: PerceptualQuality) -> None:
    """Mean PSNR of DPS, distances of stochastic restorations, and contraction, as tables."""
    tables: dict[str, list[dict]] = {"dps": [], "realism": []}
    for name, rows in tables.items():
        for folder in sorted(paths.folder(name).iterdir()):
            for series, x in io.read_tensors_as_arrays(folder / "images.safetensors").items():
                row = {"task": folder.name, "series": series, "psnr": measured("psnr", clean[: len(x)], to_01(x)).mean().round(3)}
                rows.append(row | ({"frechet": round(quality(x), 3), "distance": quality.name} if name == "realism" else {}))
        io.write_table(paths.metrics(f"{name}.csv"), pd.DataFrame(rows))
    ratios = pd.concat([io.read_table(file) for file in sorted(paths.folder("contraction").glob("*.csv"))])
    io.write_table(paths.metrics("contraction.csv"), ratios.groupby(["task", "change", "level"])["ratio"].mean().round(4).reset_index())
