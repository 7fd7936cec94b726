"""The published protocols of the field's test sets, image by image, with the published numbers beside ours.

    make benchmark-sets SETS=/path/to/sets                                           # restore, as a person would use it
    PYTHONPATH=src python benchmarks/standard_sets.py /path/to/sets --plain-dip F16  # DIP as its paper runs it; hours

SETS holds cset9, set12_gray, selfexsr_set5_x4 and selfexsr_set14_x4, as they are published. What is done stands in
benchmarks/results/standard_sets.csv and is not done again; delete rows to repeat them.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from torch import Tensor

from dualprior.common import io
from dualprior.common.device import pick
from dualprior.common.paths import Paths
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise, generator
from dualprior.data.pixels import to_01
from dualprior.degradation.operators import Identity
from dualprior.diffusion import checkpoint
from dualprior.dip.fit import Recipe, fit_images
from dualprior.photograph.damage import Damage
from dualprior.photograph.picture import read_picture
from dualprior.photograph.restore import EFFORTS, restore
from dualprior.pipeline.config import load_params

RESULTS = Path("benchmarks/results")
SIGMA = 25
# Ulyanov et al. 2018: skip network of their denoising section, iterate average, 1,800 steps
PLAIN = {"channels": [128] * 5, "skip_channels": 4, "input_channels": 32}
PLAIN_STEPS, SHOWN_EVERY = 1800, 50
# Half of the pixels lost: DIP and Papyan et al. 2017, from Table 1 of the DIP paper
HALF_LOST = {
    "01": ("cameraman", 29.80, 27.90), "02": ("house", 39.16, 34.58), "03": ("peppers", 33.05, 31.11),
    "08": ("lena", 36.16, 35.04), "09": ("barbara", 32.22, 28.14), "10": ("boat", 33.06, 31.44),
    "11": ("man", 32.20, 31.92), "12": ("couple", 32.52, 31.18),
}  # fmt: skip


class Trial(NamedTuple):
    image: str
    y: Tensor  # [1, C, h, w] in [-1, 1]
    damage: Damage
    psnr: Callable[[Tensor], float]
    published: dict[str, float]
    simple: Tensor | None = None  # an interpolation, judged beside


def _read(file: Path) -> Tensor:
    return torch.from_numpy(read_picture(file).values * 2 - 1).movedim(-1, 0)[None]


def _psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Arrays in [0, 1]."""
    return float(-10 * np.log10(np.square(a.astype(np.float64) - b).mean()))


def _noisy(x: Tensor, name: str) -> Tensor:
    """Clipped, as DIP's code does; papers on trained denoisers do not clip."""
    return (x + 2 * SIGMA / 255 * ImageNoise(0, "standard-sets", [name])(x)).clamp(-1, 1)


def denoise(sets: Path) -> Iterator[Trial]:
    for file in sorted((sets / "cset9").iterdir()):
        x = _read(file)
        yield Trial(file.stem, _noisy(x, file.stem), Damage("denoise", SIGMA), lambda out, x=x: _psnr(to_01(out), to_01(x)), {})


def inpaint(sets: Path) -> Iterator[Trial]:
    for number, (name, dip, papyan) in HALF_LOST.items():
        x = _read(sets / "set12_gray" / f"{number}.png")
        known = torch.zeros(x[0, 0].numel())
        known[torch.randperm(len(known), generator=generator(0, "standard-sets", name))[: len(known) // 2]] = 1
        known = known.view(1, 1, *x.shape[-2:])
        published = {"DIP": dip, "Papyan et al.": papyan}
        yield Trial(name, known * x, Damage("inpaint", known=known), lambda out, x=x: _psnr(to_01(out), to_01(x)), published)


def _enlarge(folder: Path) -> Iterator[Trial]:
    for large in sorted(folder.glob("*_HR.png")):
        small = large.with_name(large.name.replace("_HR", "_LR"))
        x, y = _read(large), _read(small)
        bicubic = np.asarray(Image.open(small).convert("RGB").resize(Image.open(large).size, Image.Resampling.BICUBIC))
        simple = torch.from_numpy(bicubic / 127.5 - 1).movedim(-1, 0)[None].float()
        yield Trial(f"{folder.name}/{large.stem[:7]}", y, Damage("sr", scale=4), lambda out, x=x: _luma_psnr(out, x), {}, simple)


def _luma_psnr(out: Tensor, x: Tensor) -> float:
    """On luma, four pixels shaved at every side."""
    luma = [rgb2ycbcr(np.round(to_01(image.expand(-1, 3, -1, -1))[0] * 255) / 255)[4:-4, 4:-4, 0] / 255 for image in (out, x)]
    return _psnr(*luma)


PROTOCOLS = {
    "denoise, sigma 25, clipped": denoise,
    "inpaint, half lost": inpaint,
    "sr x4, Set5": lambda sets: _enlarge(sets / "selfexsr_set5_x4"),
    "sr x4, Set14": lambda sets: _enlarge(sets / "selfexsr_set14_x4"),
}


def restored(sets: Path) -> None:
    where = pick()
    model = checkpoint.load(Paths(Path(), "hybrid").models, where)
    choices, dip = io.read_json(Path("models/hybrid/restore.json")), load_params(Path())[0].dip
    file = RESULTS / "standard_sets.csv"
    rows = io.read_table(file).to_dict("records") if file.exists() else []
    done = {(row["protocol"], row["image"]) for row in rows}
    for protocol, trials in PROTOCOLS.items():
        for trial in trials(sets):
            if (protocol, trial.image) in done:
                continue
            begin = time.perf_counter()
            usual = choices.get(trial.damage.task, {})
            damage = trial.damage
            result = restore(trial.y.to(where), damage, model, dip, usual, EFFORTS["normal"], False, 0)
            seconds = time.perf_counter() - begin
            psnr = {name: round(trial.psnr(found.x), 2) for name, found in result.found.items()}
            bicubic = {} if trial.simple is None else {"bicubic": round(trial.psnr(trial.simple), 2)}
            published = {f"published {name}": value for name, value in trial.published.items()}
            rows.append({"protocol": protocol, "image": trial.image, **psnr, **bicubic, **published, "seconds": round(seconds, 1)})
            print(rows[-1], flush=True)
            io.write_table(file, pd.DataFrame(rows))
    print(pd.DataFrame(rows).drop(columns="image").groupby("protocol", sort=False).mean().round(2).to_string())


def plain_dip(sets: Path, name: str) -> None:
    """One network, one image; its PSNR on the way, of the output and of the average of outputs."""
    trial = next(trial for trial in denoise(sets) if name in trial.image)
    where = pick()
    y, size = trial.y.to(where), tuple(trial.y.shape[-2:])
    recipe = Recipe(seed=0, kind="skip", network=PLAIN, input_cell=1, lr=0.01, input_noise=1 / 30, ema=0.99, precision="bfloat16")
    rows, begin = [], time.perf_counter()
    for done in track(fit_images(recipe, Identity(), y, [trial.image], size, PLAIN_STEPS, device=where), "plain DIP", PLAIN_STEPS):
        if done.step % SHOWN_EVERY == 0:
            told = {"output": trial.psnr(done.output), "average": trial.psnr(done.average)}
            rows.append({"image": trial.image, "step": done.step, **told, "seconds": time.perf_counter() - begin})
            print(rows[-1], flush=True)
            io.write_table(RESULTS / f"plain_dip_{name}.csv", pd.DataFrame(rows))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sets", type=Path)
    parser.add_argument("--plain-dip", metavar="IMAGE")
    given = parser.parse_args()
    plain_dip(given.sets, given.plain_dip) if given.plain_dip else restored(given.sets)
