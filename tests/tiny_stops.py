"""Invented rows of the study of stopping rules, whose verdicts can be worked out by hand."""

import numpy as np
import pandas as pd
from studies.stopping import claims
from studies.stopping.claims import Bootstrap

BOOTSTRAP = Bootstrap(resamples=400, confidence=0.9, seed=0)
FIT = {
    "fit": "skip-gaussian", "network": "skip", "kind": "skip", "channels": "16-16", "problem": "gaussian", "denoising": True,
    "leaks": False, "split_kind": "coupled", "noise_level": "known", "ladder": "none", "plain": True, "exact": False,
}  # fmt: skip
NAMES = ["a~0", "a~1", "b~0", "b~1", "c~0"]  # of image c one measurement only
GAPS = [0.1, 0.3, 0.0, 0.2, 1.2]
BY_IMAGE = [0.2, 0.1, 1.2]
SCALES = [0.8, 0.9, 1.0, 1.1, 1.2]  # of the errors: some images are harder
PRICES = [-0.4, 0.0, 0.1, 0.3, 0.5]
MEAN_PRICE = (-0.2 + 0.2 + 0.5) / 3


def rows(rule: str = "split", gaps=GAPS, prices=PRICES, **fit) -> pd.DataFrame:
    """A row a measurement: its fit peaks at 30 dB and loses `gaps`; one fit to all of y peaks `prices` above what is kept."""
    described = FIT | fit
    psnr = 30 - np.array(gaps)
    table = {
        "rule": rule, "stream": "pair", "name": NAMES, "image": [name[0] for name in NAMES], "seed": [int(name[2]) for name in NAMES],
        "step": 100, "decided_step": 200, "peak_step": 120, "psnr": psnr, "peak": 30.0, "gap": gaps, "whole_peak": psnr + prices,
    }  # fmt: skip
    return pd.DataFrame(table).assign(**described)


def calibration(true=(0.04, 0.01, 0.0225), ratio=1.21, steps=(50, 60, 70), below=(5.0, 1.0, 0.0), rule="split", **fit) -> pd.DataFrame:
    """Running estimates of every measurement, `ratio` times the truth; at step 40, before they count, they are nonsense."""
    tables = []
    for name, scale in zip(NAMES, SCALES, strict=True):
        errors = scale * np.array(true)
        told = {"step": [40, *steps], "true": [9.0, *errors], "estimate": [0.0, *(ratio * errors)], "decibels_to_peak": [0.0, *below]}
        tables.append(pd.DataFrame(told).assign(name=name, image=name[0], rule=rule, **FIT | fit))
    return pd.concat(tables, ignore_index=True)


def costs(overhead=0.02, fit="skip-gaussian", rule="split", fits=2) -> pd.DataFrame:
    return pd.DataFrame([{"fit": fit, "rule": rule, "fits": fits, "overhead": overhead}])


def judged(table: pd.DataFrame, told: pd.DataFrame | None = None, cost: pd.DataFrame | None = None) -> dict[str, dict]:
    return claims.judge(table, calibration() if told is None else told, costs() if cost is None else cost, BOOTSTRAP)


PUBLISHED = rows("es_wmv", gaps=[1.0, 3.0, 0.5, 0.5, 2.0])
CLAIMED = pd.concat([rows(), PUBLISHED], ignore_index=True)


def tried(rule: str, val: float, test: float, decided: int = 200, **fit) -> pd.DataFrame:
    both = [rows(rule, gaps=[gap] * 5, **fit).assign(split=split) for split, gap in (("val", val), ("test", test))]
    return pd.concat(both).assign(decided_step=decided)


TRIED = pd.concat(
    [
        *(tried(f"split@{patience}", val, test) for patience, val, test in ((30, 0.5, 0.0), (60, 0.108, 0.3), (100, 0.1, 0.9))),
        *(tried(f"es_wmv_tuned@{window}", val, test) for window, val, test in ((20, 1.0, 0.1), (80, 0.4, 2.0))),
    ]
)
