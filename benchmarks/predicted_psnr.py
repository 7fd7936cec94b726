"""How far the PSNR that `restore --fast` predicts is from the true one: whole images of a folder, Gaussian noise, not clipped.

    PYTHONPATH=src python benchmarks/predicted_psnr.py ../shared/data/sets/set14

Writes benchmarks/results/predicted_psnr.csv, one row an image and noise level, with the level known and estimated, and its summary.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from dualprior.common import io
from dualprior.common.device import pick
from dualprior.common.paths import Paths
from dualprior.common.seeding import generator
from dualprior.diffusion import checkpoint
from dualprior.photograph.damage import Damage
from dualprior.photograph.picture import read_picture
from dualprior.photograph.restore import EFFORTS, predicted_psnr, restore
from dualprior.pipeline.config import load_params

LEVELS = (10, 25, 50)


def main(folder: Path) -> None:
    where = pick()
    model = checkpoint.load(Paths(Path(), "hybrid").models, where)
    dip, rows = load_params(Path())[0].dip, []
    for file in sorted(folder.iterdir()):
        x = torch.from_numpy(read_picture(file).values * 2 - 1).movedim(-1, 0)[None].to(where)
        for level in LEVELS:
            y = x + 2 * level / 255 * torch.randn(x.shape, generator=generator(0, "predicted-psnr", file.name, level)).to(where)
            for known in (True, False):
                restored = restore(y, Damage("denoise", level if known else None), model, dip, {}, EFFORTS["fast"], False, 0)
                true = -10 * float(np.log10(((restored.answer.x.clamp(-1, 1) - x) / 2).square().mean().item()))
                told = predicted_psnr(restored.answer)
                what = {"image": file.name, "noise": level, "level": "known" if known else "estimated", "told": restored.about["noise"]}
                rows.append({**what, "psnr": round(true, 3), "predicted": float("nan") if told is None else round(told, 3)})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    io.write_table(Path("benchmarks/results/predicted_psnr.csv"), table)
    io.write_table(Path("benchmarks/results/predicted_psnr_summary.csv"), summary(table))


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """A row a noise level: how far the prediction is off, and what is lost where the level is estimated."""
    table = table.assign(off=(table["predicted"] - table["psnr"]).abs())
    off = table.pivot_table(index="noise", columns="level", values="off", aggfunc=["mean", "max"])
    values = table.pivot_table(index="noise", columns="level", values=["psnr", "told"])
    psnr = values["psnr"]
    columns = {
        "PSNR": psnr["known"],
        "prediction off by": off["mean", "known"],
        "at worst": off["max", "known"],
        "level as estimated, mean": values["told", "estimated"],
        "PSNR lost by that": psnr["known"] - psnr["estimated"],
        "prediction then off by": off["mean", "estimated"],
    }
    return pd.DataFrame(columns).round(2).reset_index()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
