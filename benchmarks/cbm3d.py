"""CBM3D (Dabov et al. 2007) on the study's noisy crops: an optional row, as its package is free for non-commercial use only.

After the study's stage degrade, `pip install bm3d` and `PYTHONPATH=src python benchmarks/cbm3d.py` write its metrics/cbm3d.csv.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import pixels_01
from dualprior.evaluation.image_metrics import measured

TASKS = {"denoise25": 25 / 255, "denoise50": 50 / 255}


def main() -> None:
    import bm3d

    paths, rows = Paths(Path(), "hybrid"), []
    for task, sigma in TASKS.items():
        noisy = io.read_tensors_as_arrays(paths.measurements(task) / "y.safetensors")
        names = io.read_json(paths.measurements(task) / "images.json")
        for split in ("val", "test"):
            clean = pixels_01(io.read_array(paths.split(split)))
            restored = [bm3d.bm3d_rgb((y.transpose(1, 2, 0) + 1) / 2, sigma).clip(0, 1) for y in noisy[f"{split}_y"]]
            scores = measured("psnr", clean, np.stack(restored).astype(np.float32))
            rows += [{"task": task, "split": split, "image": name, "psnr": s} for name, s in zip(names[split], scores, strict=True)]
    io.write_table(paths.metrics("cbm3d.csv"), pd.DataFrame(rows).round(4))


if __name__ == "__main__":
    main()
