"""evaluate: the study's answers beside the published numbers."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.evaluation.comparisons import finding, single
from dualprior.evaluation.image_metrics import interval

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate",)
OURS = ("diffusion", "DIP", "hybrid")
# Means in dB. DIP, CBM3D and non-local means: Ulyanov et al. 2018. On noise that is not clipped, FFDNet: Zhang et al. 2018, CDnCNN: 2017
PUBLISHED = {
    "denoise": {"DIP, last step": 29.22, "DIP": 30.43, "DIP, two runs": 31.00, "NLM": 30.26, "CBM3D": 31.42}
    | {"FFDNet": 31.73, "CDnCNN": 32.03},
    "inpaint": {},  # image by image, in its table
    "sr_set5": {"DIP": 29.90, "bicubic": 28.43},
    "sr_set14": {"DIP": 27.00, "bicubic": 26.05},
}


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    tables = {key: io.read_table(paths.metrics(f"{key}.csv")) for key in PUBLISHED}
    published = {key: PUBLISHED[key] or {"DIP": table["published DIP"].mean(), "Papyan et al.": table["published Papyan"].mean()}
                 for key, table in tables.items()}  # fmt: skip
    rows = []
    for key, table in tables.items():
        known = {f"published {name}": value for name, value in published[key].items()}
        rows.append({"protocol": key, "images": len(table), **table.reindex(columns=list(OURS)).mean(), **known})
    plain = io.read_table(paths.metrics("plain_dip.csv")).iloc[-1]
    same = tables["denoise"].set_index("image").loc[plain["image"]]
    means = {key: table["hybrid"].mean() for key, table in tables.items()}
    over_dip = {key: single(means[key] - published[key]["DIP"], len(table), "dB") for key, table in tables.items()}  # of means: no interval
    over_dip["inpaint"] = finding(tables["inpaint"]["hybrid"] - tables["inpaint"]["published DIP"], "dB", bounds)
    found = {
        "hybrid_db": {key: single(means[key], len(table), "dB") for key, table in tables.items()},
        "hybrid_over_published_dip_db": over_dip,
        "hybrid_over_cbm3d_db": {"denoise": single(means["denoise"] - PUBLISHED["denoise"]["CBM3D"], len(tables["denoise"]), "dB")},
        "dip_over_diffusion_db": {key: finding(t["DIP"] - t["diffusion"], "dB", bounds) for key, t in tables.items() if "DIP" in t},
        "bicubic_db": {key: single(tables[key]["bicubic"].mean(), len(tables[key]), "dB") for key in tables if "bicubic" in tables[key]},
        "plain_dip_db": {name: single(plain[name], 1, "dB") for name in ("output", "average")},
        "plain_dip_steps": {plain["image"]: single(plain["step"], 1, "steps")},
        "seconds_ratio_plain_dip": {plain["image"]: single(same["seconds"] / plain["seconds"], 1, "ratio")},
        "hybrid_same_image_db": {plain["image"]: single(same["hybrid"], 1, "dB")},
    }
    io.write_json(paths.metrics("findings.json"), found)
    io.write_table(paths.metrics("summary.csv"), pd.DataFrame(rows).round(2))
