"""Nine damaged photographs restored as a person would: one sheet each, docs/photographs/NAME.jpg.

    PYTHONPATH=src python benchmarks/photographs.py ../shared/data/sets [NAME ...]

The first five are the examples of the Deep Image Prior's own code; the others are made here from pictures of the standard sets:
12 megapixels with noise, 16-bit grey with noise, a small one with transparency, one out of focus. A quarter of an hour on two cores.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import imagecodecs
import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHEETS = Path("docs/photographs")
WIDEST = 1600  # of a sheet, pixels


def noisy(pixels: np.ndarray, level: float) -> np.ndarray:
    return (pixels + np.random.default_rng(0).normal(0, level, pixels.shape)).clip(0, 255)


def make(sets: Path, folder: Path) -> dict[str, tuple[Path, list[str]]]:
    """{name: (picture, options)}; files that are made lie in `folder`."""
    dip = sets / "dip_repo"
    found = {"snail": (dip / "denoising/snail.jpg", ["--task", "denoise", "--noise", "12"])}
    for name in ("kate", "library", "vase"):
        mask = folder / f"{name}_mask.png"
        known = (
            Image.open(dip / f"inpainting/{name}_mask.png").convert("L").point(lambda value: 255 * (value < 128))
        )  # theirs: black is lost
        known.save(mask)
        found[name] = (dip / f"inpainting/{name}.png", ["--task", "inpaint", "--mask", str(mask)])
    barbara = Image.open(dip / "restoration/barbara.png").convert("L")
    lost = Image.fromarray(np.uint8(255 * (np.random.default_rng(0).random(barbara.size[::-1]) < 0.5)))
    lost.save(folder / "barbara_mask.png")
    Image.composite(Image.new("L", barbara.size), barbara, lost).save(folder / "barbara.png")
    found["barbara"] = (folder / "barbara.png", ["--task", "inpaint", "--mask", str(folder / "barbara_mask.png")])
    kodim = Image.open(sets / "cset9/kodim03.png").convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
    Image.fromarray(np.uint8(noisy(np.asarray(kodim), 15).round())).save(folder / "twelve_megapixels.jpg", quality=98, subsampling=0)
    found["twelve_megapixels"] = (folder / "twelve_megapixels.jpg", ["--task", "denoise", "--fast"])
    grey = np.asarray(Image.open(sets / "set12_gray/10.png").convert("L"), float)
    (folder / "sixteen_bits.png").write_bytes(imagecodecs.png_encode(np.uint16(noisy(grey, 20) * 257)))
    found["sixteen_bits"] = (folder / "sixteen_bits.png", ["--task", "denoise"])
    small = Image.open(sets / "cset9/image_Peppers512rgb.png").convert("RGB").resize((128, 128), Image.Resampling.BOX)
    alpha = Image.new("L", small.size)
    ImageDraw.Draw(alpha).ellipse((4, 4, 124, 124), fill=255)
    small.putalpha(alpha.filter(ImageFilter.GaussianBlur(2)))
    small.save(folder / "transparent.png")
    found["transparent"] = (folder / "transparent.png", ["--task", "sr", "--scale", "4"])
    focus = Image.open(sets / "cset9/kodim01.png").convert("RGB").filter(ImageFilter.GaussianBlur(2))
    Image.fromarray(np.uint8(noisy(np.asarray(focus), 2).round())).save(folder / "out_of_focus.png")
    found["out_of_focus"] = (folder / "out_of_focus.png", ["--task", "deblur"])
    return found


def main(sets: Path, wanted: list[str]) -> None:
    SHEETS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        for title, (picture, options) in make(sets, Path(name)).items():
            if wanted and title not in wanted:
                continue
            out = Path(name) / f"{title}-restored{'.png' if picture.suffix == '.png' else '.jpg'}"
            command = [sys.executable, "src/cli.py", "-q", "restore", str(picture), *options, "-o", str(out), "--report", "--force"]
            print(title, *options, flush=True)
            subprocess.run(command, check=True)
            sheet = Image.open(out.with_name(f"{out.stem}-report.png")).convert("RGB")
            sheet.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
            sheet.save(SHEETS / f"{title}.jpg", quality=82)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
