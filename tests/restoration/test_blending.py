"""Weights of a blend: against the closed form of two, against a search over three."""

import itertools
import math

import numpy as np
import pytest
import torch
from gaussian_oracles import blend_weight

from dualprior.restoration.blending import SMALLEST_WEIGHT, learn_weights, simplex_weights

A, B = 0.3, 0.4


def gram(a: float, b: float, correlation: float) -> np.ndarray:
    return np.array([[a * a, correlation * a * b], [correlation * a * b, b * b]])


def loss(weights, grams) -> float:
    return float(np.mean([math.log(weights @ g @ weights) for g in grams]))


def wishart(count: int, images: int, seed: int) -> np.ndarray:
    """Products of random errors, with one restoration better than the rest."""
    rng = np.random.default_rng(seed)
    errors = rng.standard_normal((images, count, 50)) * np.linspace(0.5, 1.5, count)[:, None] + rng.standard_normal((images, 1, 50))
    return errors @ errors.transpose(0, 2, 1) / 50


@pytest.mark.parametrize("correlation", [-0.3, 0.0, 0.5, 0.7])
def test_of_two_restorations_the_weights_are_the_closed_form(correlation):
    weights = simplex_weights(gram(A, B, correlation)[None])
    assert weights[0] == pytest.approx(blend_weight(A, B, correlation), abs=1e-3)
    assert weights.sum() == pytest.approx(1)


def test_a_restoration_too_alike_to_help_gets_no_weight():
    """Beyond rho = a / b the best weight of the worse one would be negative."""
    assert simplex_weights(gram(A, B, 0.9)[None]) == pytest.approx([1.0, 0.0], abs=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_no_weights_of_a_fine_grid_give_a_higher_mean_psnr(seed):
    grams = wishart(3, 5, seed)
    grid = (np.array([i, j, 50 - i - j]) / 50 for i, j in itertools.product(range(51), repeat=2) if i + j <= 50)
    assert loss(simplex_weights(grams), grams) <= min(loss(w, grams) for w in grid) + 1e-6


def test_an_image_counts_by_its_psnr_and_not_by_its_error():
    """The same images ten times as wrong: the weights stay."""
    grams = wishart(3, 4, 7)
    scaled = grams * np.array([1, 100, 1, 1])[:, None, None]
    assert simplex_weights(scaled) == pytest.approx(simplex_weights(grams), abs=2e-3)


def test_small_weights_are_left_out_and_the_rest_sums_to_one():
    torch.manual_seed(0)
    clean = torch.zeros(4, 1, 32, 32)
    restored = {name: level * torch.randn(clean.shape) for name, level in (("good", 0.1), ("fair", 0.12), ("poor", 0.6))}
    weights = learn_weights(restored, clean)
    assert set(weights) == {"good", "fair"}  # the poor one would get 0.1² / 0.6² of the weight of the good one
    assert sum(weights.values()) == pytest.approx(1, abs=1e-9)
    assert min(weights.values()) >= SMALLEST_WEIGHT
    assert weights["good"] == pytest.approx(1 / (1 + (0.1 / 0.12) ** 2), abs=0.03)
