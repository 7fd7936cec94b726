"""The registered extractor: deterministic, independent of batch, and its distance grows under growing damage."""

import io
import itertools
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data, filters

from dualprior.common.errors import UserError
from dualprior.evaluation import generation_metrics

COUNT, SIDE = 96, 32


def crops(count: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    photographs = [data.astronaut(), data.coffee(), data.chelsea()]
    cut = []
    for i in range(count):
        photograph = photographs[i % len(photographs)]
        top, left = (rng.integers(0, size - SIDE) for size in photograph.shape[:2])
        cut.append(photograph[top : top + SIDE, left : left + SIDE])
    return np.stack(cut)


def add_noise(images, level):
    noise = np.random.default_rng(9).normal(0, level, images.shape)
    return np.clip(images + noise, 0, 255).round().astype(np.uint8)


def blur(images, level):
    smooth = filters.gaussian(images / 255, sigma=(0, level, level, 0))
    return np.clip(255 * smooth, 0, 255).round().astype(np.uint8)


def jpeg(images, quality):
    def squeeze(image):
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "JPEG", quality=quality)
        return np.asarray(Image.open(buffer))

    return np.stack([squeeze(image) for image in images])


def scramble_phase(images):
    """The same power spectrum, without the structure."""
    rng = np.random.default_rng(3)
    spectrum = np.fft.fft2(images.astype(float), axes=(1, 2))
    phase = np.exp(1j * np.angle(np.fft.fft2(rng.normal(size=images.shape[:3]))))[..., None]
    phase[:, 0, 0] = 1
    return np.clip(np.fft.ifft2(spectrum * phase, axes=(1, 2)).real, 0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def read():
    return generation_metrics.FeatureReader(generation_metrics.make_extractor("patch-features"))


@pytest.fixture(scope="module")
def real():
    return crops(COUNT, seed=0)


@pytest.fixture(scope="module")
def others():
    return crops(COUNT, seed=1)


DAMAGES = pytest.mark.parametrize(
    ("damage", "levels"),
    [(add_noise, (2, 5, 10, 20, 40)), (blur, (0.5, 0.8, 1.2, 2, 3)), (jpeg, (80, 60, 40, 20, 10))],
    ids=["noise", "blur", "jpeg"],
)


@DAMAGES
def test_distances_grow_with_the_damage_done_to_the_same_photographs(read, real, damage, levels):
    """The disturbance test of Heusel et al. 2017, Fig. 3."""
    found = [generation_metrics.distances(read(images), read(real)) for images in [real, *(damage(real, s) for s in levels)]]
    assert strictly_growing([numbers["frechet"] for numbers in found])
    assert strictly_growing([numbers["kernel"] for numbers in found])


@DAMAGES
def test_distances_grow_with_the_damage_done_to_other_crops(read, real, others, damage, levels):
    found = [generation_metrics.distances(read(damage(others, level)), read(real)) for level in levels]
    assert strictly_growing([numbers["frechet"] for numbers in found])
    assert strictly_growing([numbers["kernel"] for numbers in found])
    assert found[-1]["frechet"] > 2 * generation_metrics.distances(read(others), read(real))["frechet"]


def strictly_growing(values):
    return all(low < high for low, high in itertools.pairwise(values))


def test_lost_structure_shows_even_where_the_power_spectrum_is_right(read, real, others):
    floor = generation_metrics.distances(read(others), read(real))["frechet"]
    assert generation_metrics.distances(read(scramble_phase(others)), read(real))["frechet"] > 3 * floor


def test_features_do_not_depend_on_batch_mates_or_on_the_random_state(read, real):
    torch.manual_seed(5)
    again = generation_metrics.FeatureReader(generation_metrics.make_extractor("patch-features"))
    torch.testing.assert_close(again(real[7:8]), read(real)[7:8], rtol=1e-5, atol=1e-5)
    assert torch.equal(again(real), read(real))


def test_a_set_against_itself(read, real):
    found = generation_metrics.distances(read(real), read(real))
    assert found["frechet"] == pytest.approx(0, abs=1e-3)
    assert (found["precision"], found["recall"]) == (1, 1)


@pytest.mark.parametrize("side", [8, 16, 64])
def test_any_image_size_from_8_pixels_gives_60_finite_features(read, side):
    features = read(np.zeros((4, side, side, 3), np.uint8))
    assert features.shape == (4, 60)
    assert features.isfinite().all()


def test_filters_are_orthonormal_and_blind_to_a_constant():
    filters_ = generation_metrics.PatchFeatures("patch-features", ["60"]).filters.flatten(1)
    torch.testing.assert_close(filters_ @ filters_.T, torch.eye(8), atol=1e-6, rtol=0)
    torch.testing.assert_close(filters_.sum(1), torch.zeros(8), atol=1e-6, rtol=0)


def test_too_few_images_are_a_user_error(read, real):
    with pytest.raises(UserError, match="3 images are too few"):
        generation_metrics.distances(read(real[:3]), read(real))


def test_only_the_2048_features_are_called_fid():
    assert generation_metrics.Extractor("inception-v3-compat", "2048", "Inception-2048").distance_name == "FID"
    assert generation_metrics.Extractor("inception-v3-compat", "768", "Inception-768").distance_name == "Fréchet distance, Inception-768"
    ours = generation_metrics.make_extractor("patch-features")
    assert ours.distance_name == "Fréchet distance, patch-features"


def test_unknown_extractor_is_a_user_error():
    with pytest.raises(UserError, match="evaluate.extractor='resnet'"):
        generation_metrics.make_extractor("resnet")


def test_missing_weights_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match="inception_weights=.*none.pth does not exist"):
        generation_metrics.make_extractor("inception", str(tmp_path / "none.pth"))


@pytest.mark.parametrize("content", [b"not weights", b""])
def test_broken_weights_file_is_a_user_error(tmp_path, content):
    path = tmp_path / "broken.pth"
    path.write_bytes(content)
    with pytest.raises(UserError, match="is no Inception") as caught:
        generation_metrics.make_extractor("inception", str(path))
    assert "\n" not in str(caught.value)


def test_weights_of_another_network_are_a_user_error(tmp_path):
    path = tmp_path / "other.pth"
    torch.save({"conv.weight": torch.ones(1)}, path)
    with pytest.raises(UserError, match="Mixed_7c"):
        generation_metrics.make_extractor("inception", str(path))


def test_the_layer_follows_from_what_the_file_holds(tmp_path):
    path = tmp_path / "some.pth"
    state = {f"{block}.branch1x1.conv.weight": torch.ones(1) for block in ("Mixed_6e", "Mixed_7c")}
    torch.save(state, path)
    assert generation_metrics.make_extractor("inception", str(path)).layer == "2048"
    state["Mixed_7c.branch1x1.conv.weight"] = torch.zeros(1)
    torch.save(state, path)
    assert generation_metrics.make_extractor("inception", str(path)).title == "Inception-768"


def test_failed_download_is_a_user_error(monkeypatch):
    def offline(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match="could not be downloaded .no route to host."):
        generation_metrics.FeatureReader(generation_metrics.make_extractor("inception"))
