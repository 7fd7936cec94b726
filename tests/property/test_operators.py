"""Identities that define adjoint, pseudo-inverse and prox, on random sizes, settings and images, in float64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprior.common.seeding import generator
from dualprior.degradation.operators import BlockAverage, GaussianBlur, Identity, Mask, RandomMask


@st.composite
def problems(draw, blur=True):
    """An operator, two images of its domain and two measurements, all random, in float64."""
    seed = draw(st.integers(0, 2**31 - 1))
    batch, channels, factor = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(2, 4))
    size = (factor * draw(st.integers(1, 6)), factor * draw(st.integers(1, 6)))
    keeps = [RandomMask.Settings(keep=draw(st.floats(0.05, 0.85))) for _ in range(batch)]
    masks = [RandomMask.draw(keep, size, generator(seed, "mask", i))["mask"] for i, keep in enumerate(keeps)]
    kinds = {
        "identity": Identity(),
        "mask": Mask(torch.cat(masks)),
        "block": BlockAverage(factor),
        "blur": GaussianBlur(draw(st.floats(0.3, 3.0)), size),
    }
    op = kinds[draw(st.sampled_from(sorted(kinds) if blur else ["block", "identity", "mask"]))]
    rng = generator(seed, "images")
    x, z = torch.randn(2, batch, channels, *size, generator=rng, dtype=torch.float64)
    y, w = torch.randn(2, *op.A(x).shape, generator=rng, dtype=torch.float64)
    return op, x, z, y, w


def dot(a, b):
    return float((a * b).sum())


@given(problems(), st.floats(-3, 3))
def test_A_is_linear(problem, scale):
    op, x, z, _, _ = problem
    torch.testing.assert_close(op.A(x + scale * z), op.A(x) + scale * op.A(z))


@given(problems())
def test_adjoint_moves_A_across_the_inner_product(problem):
    op, x, _, y, _ = problem
    assert dot(op.A(x), y) == pytest.approx(dot(x, op.A_adjoint(y)), abs=1e-9)


@given(problems(blur=False))
def test_pseudo_inverse_satisfies_the_four_penrose_equations(problem):
    op, x, z, y, w = problem
    torch.testing.assert_close(op.A(op.A_dagger(op.A(x))), op.A(x))
    torch.testing.assert_close(op.A_dagger(op.A(op.A_dagger(y))), op.A_dagger(y))
    assert dot(op.A_dagger(op.A(x)), z) == pytest.approx(dot(x, op.A_dagger(op.A(z))), abs=1e-9)
    assert dot(op.A(op.A_dagger(y)), w) == pytest.approx(dot(y, op.A(op.A_dagger(w))), abs=1e-9)


@given(st.floats(0.3, 3.0), st.integers(4, 20), st.integers(4, 20), st.integers(0, 1000))
def test_blur_pseudo_inverse_inverts_what_it_keeps_and_drops_the_rest(std, height, width, seed):
    op = GaussianBlur(std, (height, width))
    x = torch.randn(1, 1, height, width, dtype=torch.float64, generator=generator(seed, "x"))
    lost = x - op.A_dagger(op.A(x))
    kept = op.transfer > op.cutoff
    torch.testing.assert_close(op.A_dagger(op.A(lost)), torch.zeros_like(x))
    torch.testing.assert_close(torch.fft.rfft2(lost).abs()[..., kept], torch.zeros(1, 1, int(kept.sum()), dtype=torch.float64))
    assert (op.A(lost).norm() <= op.cutoff * x.norm() * (1 + 1e-9)).item()


@given(problems(), st.floats(1e-4, 1e4))
def test_prox_has_zero_gradient(problem, rho):
    op, x0, _, y, _ = problem
    x = op.prox(x0, y, rho)
    gradient = op.A_adjoint(op.A(x) - y) + rho * (x - x0)
    assert gradient.norm() <= 1e-9 * (1 + rho) * (1 + x.norm())


@given(problems())
def test_prox_at_zero_is_the_projection(problem):
    op, x0, _, y, _ = problem
    torch.testing.assert_close(op.prox(x0, y, 0.0), x0 + op.A_dagger(y - op.A(x0)))


@given(problems(blur=False))
def test_prox_near_zero_tends_to_the_projection(problem):
    op, x0, _, y, _ = problem
    torch.testing.assert_close(op.prox(x0, y, 1e-9), op.prox(x0, y, 0.0), atol=1e-6, rtol=1e-6)


@given(problems())
def test_prox_at_large_rho_is_the_prior_image(problem):
    op, x0, _, y, _ = problem
    torch.testing.assert_close(op.prox(x0, y, 1e9), x0, atol=1e-6, rtol=1e-6)


@given(problems(), st.lists(st.sampled_from([0.0, 0.1, 2.0]), min_size=3, max_size=3))
@settings(max_examples=50)
def test_prox_takes_one_rho_per_image(problem, rhos):
    op, x0, _, y, _ = problem
    rho = torch.tensor(rhos[: len(x0)], dtype=torch.float64).reshape(-1, 1, 1, 1)
    alone = [op[i : i + 1].prox(x0[i : i + 1], y[i : i + 1], rhos[i]) for i in range(len(x0))]
    torch.testing.assert_close(op.prox(x0, y, rho), torch.cat(alone))
