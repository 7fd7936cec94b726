"""`restore` as a person calls it, with the model that is kept in the project."""

import json

import numpy as np
import pytest
import tiny
from PIL import Image

import cli
from dualprior.photograph.picture import read_picture

HYBRID = str(tiny.PROJECT / "models/hybrid")


@pytest.fixture
def photo(tmp_path, monkeypatch):
    """A crop of a shipped photograph with noise of 25, and the clean one."""
    from dualprior.data.crops import shipped_photographs

    monkeypatch.chdir(tiny.PROJECT)
    file = shipped_photographs()["test"]["chelsea"][0]
    clean = np.asarray(Image.open(file).convert("RGB"))[20:147, 200:361]
    noise = np.random.default_rng(0).normal(0, 25, clean.shape)
    Image.fromarray((clean + noise).clip(0, 255).round().astype(np.uint8)).save(tmp_path / "noisy.png")
    Image.fromarray(clean).save(tmp_path / "clean.png")
    return tmp_path


def restore(*options, code=0):
    assert cli.main(["restore", *map(str, options)]) == code


def psnr(a, b):
    return -10 * np.log10(np.mean((read_picture(a).values - read_picture(b).values) ** 2))


def test_noise_is_taken_away_and_the_error_is_told(photo, capsys):
    restore(photo / "noisy.png", "--task", "denoise", "--noise", 25, "--fast", "--json", "--report", "--model", HYBRID)
    told = json.loads(capsys.readouterr().out)
    out = photo / "noisy-restored.png"
    assert psnr(out, photo / "clean.png") > 28
    assert told["predicted_psnr_db"] == pytest.approx(psnr(out, photo / "clean.png"), abs=1.2)  # on 61,000 values
    assert (photo / "noisy-restored-report.png").exists()
    restore(photo / "noisy.png", "--task", "denoise", "--fast", code=2)
    assert "exists; give another name" in capsys.readouterr().err


def test_the_untrained_prior_works_alone_and_both_work_together(photo, capsys):
    restore(photo / "noisy.png", "--task", "denoise", "--noise", 25, "--model", "none", "-o", photo / "dip.png")
    restore(photo / "noisy.png", "--task", "denoise", "--noise", 25, "--json", "-o", photo / "both.png")
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert psnr(photo / "dip.png", photo / "clean.png") > 25
    assert psnr(photo / "both.png", photo / "clean.png") > 28
    assert 0 <= told["weight of the DIP"] < 0.5


def test_a_hole_is_filled_and_all_else_is_kept(photo):
    clean = read_picture(photo / "clean.png").values
    lost = np.zeros(clean.shape[:2], np.uint8)
    lost[20:28, 30:40] = 255
    Image.fromarray(lost).save(photo / "mask.png")
    restore(photo / "clean.png", "--task", "inpaint", "--mask", photo / "mask.png", "--fast", "-o", photo / "out.png")
    out = read_picture(photo / "out.png").values
    np.testing.assert_allclose(out[lost == 0], clean[lost == 0], atol=0.5 / 255)
    assert np.sqrt(np.mean((out[lost > 0] - clean[lost > 0]) ** 2)) < 0.1


def test_transparency_grows_with_a_picture_of_sixteen_bits(photo):
    from dualprior.photograph.picture import Picture, write_picture

    values = read_picture(photo / "clean.png").values[:24, :20, :1]
    write_picture(photo / "deep.png", Picture(values, np.ones(values.shape[:2], np.float32), deep=True))
    restore(photo / "deep.png", "--task", "sr", "--scale", 2, "--fast")
    out = read_picture(photo / "deep-restored.png")
    assert (out.values.shape, out.alpha.shape, out.deep) == ((48, 40, 1), (48, 40), True)
    blocks = out.values.reshape(24, 2, 20, 2).mean((1, 3))
    assert np.abs(blocks - values[..., 0]).max() < 0.02  # but for values beyond black and white


def test_a_folder_is_restored_into_a_folder_beside_it(photo):
    (photo / "in").mkdir()
    for name in ("a.png", "b.jpg", ".hidden.png", "notes.txt"):
        (photo / "in" / name).write_bytes((photo / "noisy.png").read_bytes())
    restore(photo / "in", "--task", "denoise", "--fast")
    assert sorted(file.name for file in (photo / "in-restored").iterdir()) == ["a.png", "b.png"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--task", "denoice"], "--task denoice is unknown; did you mean 'denoise'"),
        (["--task", "inpaint"], "needs to know what is lost"),
        (["--task", "inpaint", "--mask-color", "nocolour"], "is not a colour"),
        (["--task", "inpaint", "--mask-color", "#123456"], "nothing of the picture is marked as lost"),
        (["--task", "inpaint", "--mask", "{}/small.png"], "make them equal"),
        (["--task", "denoise", "--model", "{}"], "ddpm.safetensors is missing"),
        (["--task", "denoise", "-o", "{}/out.xyz"], "is not a kind of picture"),
        (["--task", "denoise", "--noise", "-3"], "noise"),
    ],
)
def test_what_cannot_be_done_is_one_line(photo, options, message, capsys):
    Image.new("L", (8, 8)).save(photo / "small.png")
    restore(photo / "noisy.png", "--fast", *(option.format(photo) for option in options), code=2)
    err = capsys.readouterr().err
    assert message in err
    assert "Traceback" not in err
