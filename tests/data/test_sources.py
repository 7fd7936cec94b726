"""Copies of a picture are found, and stay in one split."""

import numpy as np
from PIL import Image

from dualprior.data.crops import Photograph, shipped_photographs
from dualprior.data.pixels import read_photograph
from dualprior.data.sources import SAME, miniature, survey


def alike(a, b):
    return float(miniature(a) @ miniature(b))


def test_a_small_and_a_compressed_copy_are_the_same_picture_and_others_are_not(tmp_path):
    files = [group[0] for named in shipped_photographs().values() for group in named.values()]
    photographs = [read_photograph(file) for file in files]
    for pixels in photographs:
        image = Image.fromarray(pixels)
        image.save(tmp_path / "a.jpg", quality=60)
        half = image.resize((image.width // 2, image.height // 2), Image.Resampling.LANCZOS)
        assert alike(pixels, read_photograph(tmp_path / "a.jpg")) >= SAME
        assert alike(pixels, np.asarray(half)) >= SAME
    assert max(alike(a, b) for i, a in enumerate(photographs) for b in photographs[:i]) < 0.9


def test_copies_are_one_photograph_whose_first_file_is_the_largest(tmp_path):
    chelsea, china = (Image.open(files[0]).convert("RGB") for files in shipped_photographs()["test"].values())
    chelsea.resize((chelsea.width // 2, chelsea.height // 2)).save(tmp_path / "a.png")
    chelsea.save(tmp_path / "b.png")
    china.save(tmp_path / "c.png")
    chelsea.save(tmp_path / "d.jpg", quality=95)
    found = survey(tmp_path, lambda name, file, pixels: Photograph(name, (file,), pixels.size))
    assert {photograph.name: [file.name for file in photograph.files] for photograph in found} == {
        "b.png": ["b.png", "a.png", "d.jpg"],
        "c.png": ["c.png"],
    }


def test_flat_drawings_that_differ_are_not_copies(tmp_path):
    for side in (8, 16, 24):
        square = np.full((64, 64, 3), 255, np.uint8)
        square[10 : 10 + side, 20 : 20 + side] = 0
        Image.fromarray(square).save(tmp_path / f"{side}.png")
    assert len(survey(tmp_path, lambda name, file, pixels: Photograph(name, (file,), pixels.size))) == 3
