"""Our distances against the textbook formulas, and against torch-fidelity's own front door."""

from pathlib import Path

import numpy as np
import pytest
import scipy.linalg
import torch
import torch_fidelity
from skimage import data
from torch.utils.data import TensorDataset

from dualprior.evaluation import generation_metrics

WEIGHTS = Path(__file__).resolve().parents[3] / "shared/data/weights/inception_tf2015_trunk768.pth"
INCEPTION = pytest.param("inception", marks=pytest.mark.skipif(not WEIGHTS.exists(), reason=f"{WEIGHTS.name} is not here"))


class Images(TensorDataset):
    def __getitem__(self, index):
        return super().__getitem__(index)[0]


def tiles(photograph, count):
    rows, columns = (size // 32 for size in photograph.shape[:2])
    cut = photograph[: rows * 32, : columns * 32].reshape(rows, 32, columns, 32, 3).swapaxes(1, 2)
    return np.ascontiguousarray(cut.reshape(-1, 32, 32, 3)[:count])


@pytest.fixture(scope="module")
def sets():
    return tiles(data.astronaut(), 120), tiles(data.coffee(), 120)


@pytest.fixture(scope="module")
def features(sets):
    read = generation_metrics.FeatureReader(generation_metrics.make_extractor("patch-features"))
    return tuple(read(images) for images in sets)


def test_frechet_distance_equals_the_matrix_square_root_formula(features):
    a, b = (f.double().numpy() for f in features)
    c1, c2 = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(c1 @ c2)
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(c1 + c2 - 2 * root.real)
    assert generation_metrics.distances(*features)["frechet"] == pytest.approx(expected, rel=1e-5)


def test_kernel_distance_equals_the_unbiased_estimate(features):
    a, b = (f.double().numpy() for f in features)
    kernel = lambda x, y: (x @ y.T / x.shape[1] + 1) ** 3  # noqa: E731
    n = len(a)
    within = [(k.sum() - np.trace(k)) / (n * (n - 1)) for k in (kernel(a, a), kernel(b, b))]
    assert generation_metrics.distances(*features)["kernel"] == pytest.approx(sum(within) - 2 * kernel(a, b).mean(), rel=1e-4)


def test_precision_and_recall_equal_the_ball_counts(features):
    a, b = features

    def share_inside(points, centres):
        radii = torch.cdist(centres, centres).sort(1).values[:, generation_metrics.NEIGHBOURHOOD]
        return (torch.cdist(points, centres) <= radii).any(1).float().mean().item()

    found = generation_metrics.distances(a, b)
    assert found["precision"] == pytest.approx(share_inside(a, b))
    assert found["recall"] == pytest.approx(share_inside(b, a))


@pytest.mark.parametrize("kind", ["patch-features", INCEPTION])
def test_distances_equal_calculate_metrics_by_name(sets, kind):
    extractor = generation_metrics.make_extractor(kind, str(WEIGHTS) if kind == "inception" else None)
    generated, real = (images[:6] if kind == "inception" else images for images in sets)
    read = generation_metrics.FeatureReader(extractor)
    ours = generation_metrics.distances(read(generated), read(real))
    one, two = (Images(torch.from_numpy(images).permute(0, 3, 1, 2)) for images in (generated, real))
    layers = {f"feature_layer_{metric}": extractor.layer for metric in ("fid", "kid", "prc")}
    settings = {"feature_extractor": extractor.registered, "feature_extractor_weights_path": extractor.weights, **layers}
    settings |= {"fid": True, "kid": True, "prc": True, "kid_subsets": 1, "kid_subset_size": len(real)}
    theirs = torch_fidelity.calculate_metrics(input1=one, input2=two, cuda=False, save_cpu_ram=True, verbose=False, cache=False, **settings)
    assert ours["frechet"] == pytest.approx(theirs[torch_fidelity.KEY_METRIC_FID])
    assert ours["kernel"] == pytest.approx(theirs[torch_fidelity.KEY_METRIC_KID_MEAN])
    assert ours["precision"] == theirs[torch_fidelity.KEY_METRIC_PRECISION]
    assert ours["recall"] == theirs[torch_fidelity.KEY_METRIC_RECALL]


@pytest.mark.skipif(not WEIGHTS.exists(), reason=f"{WEIGHTS.name} is not here")
def test_the_trunk_is_reported_as_inception_768_and_never_as_fid():
    extractor = generation_metrics.make_extractor("inception", str(WEIGHTS))
    assert extractor.distance_name == "Fréchet distance, Inception-768"
