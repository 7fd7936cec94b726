"""The study of DIP priors in training on tiny data, and its arithmetic against known answers."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from PIL import Image

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.diffusion import checkpoint
from dualprior.pipeline.config import Config, check_params, read_yaml
from studies.training import conditional, evaluate, guesses, patches, sample, train, variations
from studies.training import given as given_
from studies.training.params import Params

LEVELS = np.geomspace(0.01, 10, 50)


def params() -> Params:
    data = read_yaml(tiny.PROJECT / "studies/training/params.yaml")
    data["patches"] |= {
        "train": "train",
        "test": ["test"],
        "leave_out": [],
        "validation": 1,
        "size": 16,
        "count": 6,
        "fitted": 4,
        "scales": [1.0],
        "each": 4,
    }
    data |= {
        "problems": ["sr4"],
        "ablated": "sr4",
        "seeds": [0, 1],
        "fits": ["skip4", "skip2"],
        "more_fits": ["skip3"],
        "calls": 2,
        "more_calls": [1],
        "plain_calls": 3,
    }
    net = {"kind": "skip", "channels": [4, 4], "skip_channels": 2, "input_channels": 4}
    data["dip"] |= {"networks": {"skip": net}, "steps": 4, "snapshots": 2, "least_step": 2, "precision": "float32"}
    data["ddpm"]["network"]["channels"] = 8
    data["ddpm"]["training"] |= {"steps": 2, "batch_size": 2, "log_every": 1, "precision": "float32"}
    data["variants"]["axes"] = {"truncated": {"fit": ["skip3"]}}
    data["variants"]["usual"]["patches"] = 4
    data["variants"]["compared"]["more_data"]["patches"] = 6
    data["initialise"]["steps"] = 2
    data["variations"] |= {"starts": ["dip", "cheap"], "levels": [0.3, 0.6], "calls": [2, 3], "noise_calls": 4}
    data["refits"] = {"at": [1], "steps": 2, "share": 0.5}
    return check_params(data, "params.yaml", Params)


def run(stage, paths, *key):
    stage.run(Config([params(), tiny.params()], stage.PARAMS), paths, *key)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Paths:
    root = tmp_path_factory.mktemp("training")
    for folder, count in {"train": 2, "test": 2}.items():
        (root / folder).mkdir()
        for k in range(count):
            pixels = np.random.default_rng([k, len(folder)]).integers(0, 256, (48, 48, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / folder / f"{folder}{k}.png")
    paths = Paths(root, "training")
    run(patches, paths)
    run(guesses, paths, "sr4")
    clean = io.read_array(paths.split("test"))
    paths.split("test").unlink()  # who trains and restores has not seen them
    run(train, paths, "sr4")
    run(sample, paths, "sr4")
    torch.manual_seed(0)
    network = {"channels": 8, "multipliers": [1], "blocks": 1, "patch": 2}
    denoiser = checkpoint.build(network, "v", "float32", torch.device("cpu"))
    about = {"network": network, "precision": "float32", "schedule": {"kind": "lognormal", "timesteps": 100}}
    checkpoint.save(Paths(root, "hybrid").models, denoiser, checkpoint.weights(denoiser), **about)
    run(variations, paths)
    io.write_array(paths.split("test"), clean)
    run(evaluate, paths)
    return paths


def test_every_variant_is_trained_restored_and_judged(finished):
    table = io.read_table(finished.metrics("results.csv"))
    guesses_ = {"guess cheap", "guess classic", "guess dip", "guess skip2", "guess skip3", "guess skip4"}
    assert set(table["variant"]) == {*params().variants.every, "refitted", "mixed"} | guesses_
    assert np.isfinite(table[["psnr", "ssim", "frechet"]]).all().all()
    assert set(table[table["variant"] == "plain"]["calls"]) == {1, 2, 3}
    drawn = io.read_table(finished.metrics("variations.csv"))
    assert len(drawn) == 2 * (2 * 2 + 1) + 3 + 1  # starts by level and calls, or as they are; noise by calls; real
    assert (drawn[drawn["calls"] > 0]["spread"] > 0).all()
    assert (drawn[drawn["calls"] == 0]["spread"] == 0).all()
    curves = io.read_table(finished.metrics("curves.csv"))
    assert curves[curves["variant"] == "longer"]["step"].max() == 4
    assert (curves[curves["variant"] == "condition"]["guesses"] > 0).all()
    assert (curves[curves["variant"] == "plain"]["guesses"] == 0).all()


def test_ablations_stand_beside_what_they_vary(finished):
    assert list(io.read_table(finished.metrics("ablations.csv"))["variant"]) == ["truncated", "truncated fit=skip3"]


def test_a_dip_meets_exact_data(finished):
    y = io.read_tensors(finished.inside("guesses").data / "sr4" / "val_y.safetensors")["y"]
    means = [torch.nn.functional.avg_pool2d(given_.read_guess(finished, "sr4", "val", f"skip{n}"), 4) for n in (2, 4)]
    assert all((mean - y).abs().max() < 2e-3 for mean in means)  # exact data are met


def given(name, clean, guess):
    variant = params().variants.every[name]
    return variant, given_.Given(guess, None if variant.mean is None else guess)


def test_a_residual_frame_maps_there_and_back_and_has_the_spread_of_images():
    guess = tiny.images(4)
    clean = guess + 0.07 * torch.randn(guess.shape, generator=torch.Generator().manual_seed(0))
    variant, known = given("residual", clean, guess)
    frame = conditional.Frame.of(variant, clean, known)
    torch.testing.assert_close(frame.back(frame.to(clean, known), known), clean)
    assert float(frame.to(clean, known).square().mean().sqrt()) == pytest.approx(0.5, abs=1e-4)


@pytest.mark.parametrize("name", ["plain", "residual", "truncated"])
def test_a_perfect_denoiser_restores_whatever_the_variant(name):
    clean = tiny.images(2)
    guess = clean - 0.2
    variant, known = given(name, clean, guess)
    frame = conditional.Frame.of(variant, clean, known)
    seen = []

    def denoise(u, sigma, cond):
        seen.append((float(sigma), u))
        return frame.to(clean, known)

    z = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(conditional.restore(denoise, variant, frame, LEVELS, known, 3, z), clean, atol=1e-5, rtol=0)
    top = max(level for level in LEVELS if name != "truncated" or level <= variant.sigma_max)
    assert seen[0][0] == pytest.approx(top, rel=1e-5)
    expected = {"plain": top * z, "residual": top * z, "truncated": guess + (top**2 - 0.2**2) ** 0.5 * z}[name]
    torch.testing.assert_close(seen[0][1], expected)


def test_cost_to_a_quality_counts_the_fits_and_who_never_gets_there():
    columns = ["variant", "seed", "step", "seconds", "psnr"]
    rows = [("plain", 0, s, 10.0 * s, 20.0 + s) for s in (1, 2, 3, 4)]
    rows += [("quick", 0, s, 5.0 + 10.0 * s, psnr) for s, psnr in ((1, 24.5), (2, 23.0), (3, 25.0), (4, 25.0))]
    rows += [("slow", 0, s, 10.0 * s, 20.0) for s in (1, 2, 3, 4)]
    curve = pd.DataFrame(rows, columns=columns)
    quick, slow = (evaluate.to_quality(curve, name, "plain", "seconds") for name in ("quick", "slow"))
    assert (quick["value"], quick["reached"]) == (pytest.approx(35 / 40), 1)  # not the first time, as it falls below once more
    assert (slow["value"], slow["reached"]) == (None, 0)
