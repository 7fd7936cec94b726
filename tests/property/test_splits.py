"""Every split of the next noise level keeps its variance."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from dualprior.diffusion.samplers import ddpm_split, zeta_split

share = st.floats(0, 1)
level = st.floats(1e-3, 1e3)


def tensors(*values):
    return (torch.tensor(v, dtype=torch.float64) for v in values)


def check_variance(down, up, after):
    assert down >= 0
    assert up >= 0
    torch.testing.assert_close(down**2 + up**2, after**2, rtol=1e-9, atol=0)


@given(level, share, share)
def test_ddpm_split_keeps_the_variance_of_the_level(sigma, fall, eta):
    sigma, after = tensors(sigma, fall * sigma)
    check_variance(*ddpm_split(sigma, after, eta), after)


@given(level, share, share)
def test_zeta_split_keeps_the_variance_of_the_level(sigma, fall, zeta):
    sigma, after = tensors(sigma, fall * sigma)
    check_variance(*zeta_split(sigma, after, zeta), after)


@given(level, share)
def test_eta_1_is_the_posterior_of_ddpm(sigma, fall):
    """Variance of x_after given x_sigma and x0 in Gaussian arithmetic: 1 / (1/after^2 + 1/(sigma^2 - after^2))."""
    after = max(fall, 1e-3) * sigma * 0.999
    _, up = ddpm_split(*tensors(sigma, after))
    torch.testing.assert_close(up.item() ** 2, 1 / (1 / after**2 + 1 / (sigma**2 - after**2)), rtol=1e-9, atol=0)


@given(level, share)
def test_eta_0_and_zeta_0_draw_nothing(sigma, fall):
    sigma, after = tensors(sigma, fall * sigma)
    assert ddpm_split(sigma, after, 0.0)[1] == zeta_split(sigma, after, 0.0)[1] == 0
