"""What `python src/cli.py restore` uses for each task, chosen on validation photographs: writes models/hybrid/restore.json.

From the project's folder, after `dvc repro studies/hybrid/dvc.yaml:photographs`:
    PYTHONPATH=src python benchmarks/restore_settings.py
Three minutes on two cores. Chains of 20 calls are tried with every zeta; the DIP's weight is learned beside the best.
"""

import json
from pathlib import Path

import torch

from dualprior.common import io
from dualprior.common.device import Pace, pick
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_unit
from dualprior.data.validation import mean_psnr
from dualprior.degradation.measurement import measure, observe
from dualprior.degradation.task import Task
from dualprior.diffusion import checkpoint
from dualprior.pipeline.config import load_params
from dualprior.pipeline.fit_dip import fit_measurement, trial_step
from dualprior.restoration.blending import learn_weights
from dualprior.restoration.diffusion_methods import mean_of_chains
from dualprior.restoration.problem import Problem

CROPS, CALLS, CHAINS = 8, 20, 4
CASES = {  # task of the command: what a validation crop is made to suffer
    "sr": [{"operator": "block_average", "noise": 0, "factor": 4}, {"operator": "block_average", "noise": 0, "factor": 2}],
    "inpaint": [{"operator": "box_mask", "noise": 0, "box": 16}, {"operator": "random_mask", "noise": 0, "keep": 0.5}],
    "deblur": [{"operator": "gaussian_blur", "noise": 2, "blur_std": 1.6}, {"operator": "gaussian_blur", "noise": 5, "blur_std": 2.5}],
}
ZETAS = (0.1, 0.3, 1.0)
DATA_WEIGHT = 1.0  # without noise the data are met exactly, whatever it is


@torch.no_grad()
def main() -> None:
    where = pick()
    model = checkpoint.load(Paths(Path(), "hybrid").models, where)
    dip = load_params(Path())[0].dip
    network = next(iter(dip.networks.values()))
    clean = to_unit(io.read_array(Paths(Path(), "hybrid").split("val"))[:CROPS]).to(where)
    names = [f"val-{k}" for k in range(CROPS)]
    chosen = {}
    for task, cases in CASES.items():
        problems = []
        for number, case in enumerate(cases):
            kind = Task(**case)
            measured = observe(measure(clean.cpu(), kind, 0, f"{task}-{number}", names), kind, names, where)
            problems.append(Problem(measured, model.denoise, model.levels, None, 0))
        found = {}
        setting = {"samples": CHAINS, "calls": CALLS, "grid": "few_step", "data_weight": DATA_WEIGHT}
        for zeta in ZETAS:
            runs = [mean_of_chains(problem, {}, zeta=zeta, **setting).x for problem in problems]
            found[zeta] = (sum(mean_psnr(x, clean) for x in runs) / len(runs), runs)
            print(task, zeta, f"{found[zeta][0]:.2f}", flush=True)
        best = max(found, key=lambda zeta: found[zeta][0])
        fits = [fit_measurement(p.measured, dip, network, Pace(trial_step(p.measured, dip), task), task).stopped for p in problems]
        both = {"diffusion": torch.cat(found[best][1]), "DIP": torch.cat(fits)}
        weight = learn_weights(both, torch.cat([clean] * len(cases))).get("DIP", 0.0)
        print(task, "DIP alone", f"{sum(mean_psnr(x, clean) for x in fits) / len(fits):.2f}", "its weight", weight, flush=True)
        chosen[task] = {"zeta": best, "data_weight": DATA_WEIGHT, "dip_weight": weight}
    io.write_json(Path("models/hybrid/restore.json"), chosen)
    print(json.dumps(chosen, indent=2))


if __name__ == "__main__":
    main()
