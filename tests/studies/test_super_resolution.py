"""The study of super-resolution on tiny data: pairs, one short training, samples, and what the judge makes of known images."""

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8
from dualprior.degradation.operators import BlockAverage
from dualprior.evaluation.generation_metrics import FeatureReader, make_extractor
from dualprior.evaluation.image_metrics import measured
from dualprior.pipeline.config import Config, check_params, read_yaml
from studies.super_resolution import classifier, evaluate, models, pairs, sample, train
from studies.super_resolution.params import Params

MODEL = "photographs-eps"
EVERY = [f"photographs-{name}" for name in models.MODELS]


def params() -> Params:
    data = read_yaml(tiny.PROJECT / "studies/super_resolution/params.yaml")
    own = {"train": "train", "test": ["test"], "leave_out": [], "patch": 16, "patches": 12, "crop": 32, "crops": 2, "scales": [1.0]}
    data["pairs"]["photographs"] = own
    data["pairs"]["digits"] = {"test": 4000}
    data["seeds"] = [0, 1]
    data["ddpm"]["network"] = {"channels": 8, "multipliers": [1, 1], "blocks": 1, "patch": 2}
    data["ddpm"]["training"] |= {"steps": 3, "batch_size": 4, "precision": "float32"}
    data["sample"] = {"calls": [2, 3], "full_calls": 4, "full_images": 2, "draws": 2}
    return check_params(data, "params.yaml", Params)


@pytest.fixture(scope="module")
def paths(tmp_path_factory) -> Paths:
    root = tmp_path_factory.mktemp("super_resolution")
    for folder, count in {"train": 2, "test": 2}.items():
        (root / folder).mkdir()
        for k in range(count):
            rng = np.random.default_rng([k, count, len(folder)])
            Image.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(root / folder / f"{folder}{k}.png")
    return Paths(root, "super_resolution")


def run(stage, paths, key):
    stage.run(Config([params(), tiny.params()], stage.PARAMS), paths, key)


@pytest.fixture(scope="module")
def sampled(paths) -> Paths:
    run(pairs, paths, "photographs")
    for name in EVERY:
        run(train, paths, name)
    own = paths.inside("photographs")
    own.split("test").rename(own.folder("hidden"))  # who makes images large has not seen them
    for name in EVERY:
        run(sample, paths, name)
    own.folder("hidden").rename(own.split("test"))
    return paths


@pytest.fixture(scope="module")
def digits(paths) -> Paths:
    run(pairs, paths, "digits")
    return paths.inside("digits")


def test_what_is_measured_is_the_mean_of_blocks(digits):
    test, low = (io.read_array(digits.folder(name)).astype(float) for name in ("test.npy", "test_low.npy"))
    assert test.shape == (4000, 28, 28, 1)
    assert low.shape == (4000, 7, 7, 1)
    assert np.abs(low[:, 2, 3, 0] - test[:, 8:12, 12:16, 0].mean((1, 2))).max() <= 0.5
    labels = io.read_arrays(digits.folder("labels.npz"))
    assert np.bincount(np.concatenate([labels["test"], labels["train"]])).tolist() == [500] * 10


def test_every_test_image_is_made_by_every_model_and_number_of_calls_without_the_clean_ones(sampled):
    made = io.read_arrays(sampled.inside(MODEL).folder("0.npz"))
    assert {name: x.shape[0] for name, x in made.items()} == {"2": 4, "3": 4, "4": 2, "draws": 4}
    assert (made["draws"][0] != made["draws"][1]).any()
    assert list(io.read_arrays(sampled.inside("photographs-l1").folder("1.npz"))) == ["1"]
    assert (io.read_arrays(sampled.inside(MODEL).folder("1.npz"))["3"] != made["3"]).any()


def test_regression_is_judged_by_its_answer_and_diffusion_by_the_loss_of_its_target():
    denoiser = tiny.denoiser("x0", condition_channels=3)
    x0, image, sigma, eps = tiny.images(2), tiny.images(4)[2:], torch.ones(2), torch.randn(2, 3, 16, 16)
    told = models.at_once(denoiser, {"image": image}) - x0
    loss = lambda name: float(models.MODELS[name].loss(denoiser, x0, sigma, eps, {"image": image}))  # noqa: E731
    assert loss("l1") == pytest.approx(float(told.abs().mean()))
    assert loss("l2") == pytest.approx(float(told.square().mean()))
    given = denoiser(x0 + eps, sigma, {"image": image})
    assert loss("x0") == pytest.approx(float((given - x0).square().mean()), rel=1e-4)


def test_the_judge_finds_the_clean_images_perfect_and_their_blocks_consistent(paths):
    own = paths.inside("judged")
    clean = to_uint8(tiny.images(6, 32))
    io.write_array(own.split("test"), clean)
    io.write_array(own.folder("groups.npy"), np.arange(6))
    io.write_array(own.folder("test_low.npy"), to_uint8(BlockAverage(4).A(tiny.images(6, 32))))
    judge = evaluate.Judge(own, 4, FeatureReader(make_extractor("patch-features")))
    judge(clean, evaluate.CLEAN, 0, 0)
    judge(np.roll(clean, 4, axis=2), "eps", 3, 0)
    perfect, shifted = (rows for _, rows in judge.images.groupby("calls"))
    assert (perfect["psnr"] == 100).all()
    assert (perfect["consistency"] < 0.3).all()  # of 255 squared: rounding
    assert shifted["consistency"].min() > 10 * perfect["consistency"].max()
    assert judge.sets["frechet"].item() > 0


def test_the_study_is_judged_model_by_model_with_photographs_as_the_unit(sampled, monkeypatch):
    monkeypatch.setattr(evaluate, "SETS", ("photographs",))
    evaluate.run(Config([params(), tiny.params()], evaluate.PARAMS), sampled)
    table = io.read_table(sampled.metrics("results.csv"))
    assert len(table) == 1 + 2 + 3 * 3 + 1  # bicubic, regressions, diffusions by calls, clean
    full = table[table["images"] == 4]
    assert np.isfinite(full[full["model"] != "the clean images"]["frechet"]).all()
    found = io.read_json(sampled.metrics("findings.json"))
    assert found["diffusion_over_regression_psnr"]["photographs_x0"]["n"] == 2  # photographs
    assert found["diffusion_over_regression_frechet"]["photographs_eps"]["n"] == 2  # seeds
    clean = io.read_array(sampled.inside("photographs").split("test"))
    made = {name: [arrays(sampled, name, seed)["3"] for seed in (0, 1)] for name in ("eps", "x0")}
    means = {name: np.mean([measured("psnr", clean / 255, x / 255) for x in both]) for name, both in made.items()}
    assert found["eps_over_x0_psnr"]["photographs_eps"]["value"] == pytest.approx(means["eps"] - means["x0"], abs=1e-3)


def arrays(paths, name, seed):
    return io.read_arrays(paths.inside(f"photographs-{name}").folder(f"{seed}.npz"))


def test_the_classifier_reads_digits_that_it_has_not_seen(digits):
    named, pixels = io.read_arrays(digits.folder("labels.npz")), io.read_array(digits.split("test"))
    network = classifier.trained(io.read_array(digits.split("train")), named["train"])  # a thousand
    assert (classifier.told(network, pixels[:500]) == named["test"][:500]).mean() > 0.85
