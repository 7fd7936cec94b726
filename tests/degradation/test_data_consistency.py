"""The pull of the measurement on the denoiser's guess."""

import pytest
import torch

from dualprior.degradation.data_consistency import proximal
from dualprior.degradation.operators import BlockAverage, GaussianBlur, Identity, Mask

SIZE = (8, 8)
MASK = (torch.rand(2, 1, *SIZE, generator=torch.Generator().manual_seed(5)) < 0.5).double()
OPERATORS = [Identity(), Mask(MASK), BlockAverage(4), GaussianBlur(1.0, SIZE)]
ids = [type(op).__name__ for op in OPERATORS]


def images(seed):
    return torch.randn(2, 3, *SIZE, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def level(*values):
    return torch.tensor(values, dtype=torch.float64).view(-1, 1, 1, 1)


@pytest.mark.parametrize("op", OPERATORS, ids=ids)
@pytest.mark.parametrize("weight", [0.25, 4.0])
def test_rectified_guess_has_zero_gradient(op, weight):
    x0, y, sigma, sigma_y = images(0), op.A(images(1)), level(0.3, 2.0), 0.2
    x = proximal(op, y, sigma_y, weight)(x0, sigma).requires_grad_()
    misfit = (op.A(x) - y).square().sum() / sigma_y**2
    distance = (weight * (x - x0).square() / sigma**2).sum()
    (gradient,) = torch.autograd.grad(misfit + distance, x)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-9)


@pytest.mark.parametrize("op", OPERATORS, ids=ids)
def test_without_noise_it_is_ddnm_whatever_the_weight(op):
    x0, y = images(0), op.A(images(1))
    for weight in (0.25, 4.0):
        ddnm = x0 + op.A_dagger(y - op.A(x0))
        torch.testing.assert_close(proximal(op, y, 0.0, weight)(x0, level(0.3, 2.0)), ddnm)


def test_for_denoising_it_is_the_precision_weighted_mean():
    x0, y = images(0), images(1)
    expected = (x0 / 0.5**2 + y / 0.2**2) / (1 / 0.5**2 + 1 / 0.2**2)
    torch.testing.assert_close(proximal(Identity(), y, 0.2)(x0, level(0.5)), expected)


def test_a_sure_guess_is_kept():
    x0, y = images(0), images(1)
    torch.testing.assert_close(proximal(Identity(), y, 0.2)(x0, level(1e-6)), x0)
