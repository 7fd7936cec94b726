"""Both priors on one picture: the predicted error is the true one, and the mean of two is the best mean."""

import pytest
import tiny
import torch

from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.photograph.damage import Damage
from dualprior.photograph.restore import Found, _blended, _denoised

LEVELS = torch.linspace(0.01, 5, 100).numpy()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_predicted_error_of_one_call_is_the_true_one(channels):
    """A denoiser that is linear and not the best one, on many pixels."""
    x = torch.nn.functional.interpolate(tiny.images(1, 16)[:, :channels], size=320, mode="nearest")
    sigma = 0.4
    y = x + sigma * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))

    def denoise(x, sigma):
        return 0.8 * torch.nn.functional.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    found = _denoised(Damage("denoise").measured(y, sigma, "a"), TrainedModel(denoise, LEVELS), 0)
    true = float((found.x - x).square().mean())
    assert found.mse == pytest.approx(true, rel=0.05)
    assert float(found.error_map.mean()) == pytest.approx(found.mse, rel=0.05)


def test_a_blend_by_true_errors_is_the_best_mean_and_knows_its_error():
    rng = torch.Generator().manual_seed(0)
    x, common = (torch.randn(1, 3, 40, 40, generator=rng) for _ in range(2))
    first, second = (x + scale * torch.randn(x.shape, generator=rng) + 0.3 * common for scale in (0.4, 0.6))
    errors = [float((each - x).square().mean()) for each in (first, second)]
    weight, blend = _blended(Found(first, errors[0]), Found(second, errors[1]), 0.9)
    tried = {w / 100: float(((1 - w / 100) * first + w / 100 * second - x).square().mean()) for w in range(101)}
    assert weight == pytest.approx(min(tried, key=tried.__getitem__), abs=0.01)
    assert blend.mse == pytest.approx(float((blend.x - x).square().mean()), rel=1e-4)


def test_without_predicted_errors_the_weight_is_the_usual_one():
    first, second = (torch.full((1, 3, 4, 4), value) for value in (0.0, 1.0))
    weight, blend = _blended(Found(first), Found(second), 0.25)
    assert (weight, blend.mse) == (0.25, None)
    torch.testing.assert_close(blend.x, torch.full_like(first, 0.25))
