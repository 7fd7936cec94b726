"""The residual carried back into the image."""

import pytest
import tiny
import torch

from dualprior import dip, pair
from dualprior.back_projection import data_term
from dualprior.dip import data_loss
from dualprior.seeding import ImageNoise
from dualprior.stages import fit_dip
from dualprior.witness import coupled_pair

TASKS = ("denoise25", "sr4", "inpaint_random", "inpaint_box", "deblur")


@pytest.mark.parametrize("task", TASKS)
def test_least_squares_leaves_the_measurement_alone(task):
    seen = tiny.problem(task, 2).seen
    assert data_term(seen.op, seen.y, "least_squares") == (seen.op, seen.y)


@pytest.mark.parametrize("task", TASKS[:-1])
def test_without_a_blur_both_residuals_agree(task):
    """Written out: mean over the values that A†A keeps of (A†(A x - y))²."""
    seen, x = tiny.problem(task, 2).seen, torch.randn(2, 3, tiny.SIDE, tiny.SIDE)
    op, y = data_term(seen.op, seen.y, "back_projection")
    carried = seen.op.A_dagger(seen.op.A(x) - seen.y).square()
    seen_values = seen.op.A_dagger(seen.op.A(torch.ones_like(x))) > 0
    expected = (carried * seen_values).sum((1, 2, 3)) / seen_values.sum((1, 2, 3))
    torch.testing.assert_close(data_loss(op, x, y), expected)


def test_a_blur_is_carried_back():
    seen, x = tiny.problem("deblur", 2).seen, torch.randn(2, 3, tiny.SIDE, tiny.SIDE)
    op, y = data_term(seen.op, seen.y, "back_projection")
    torch.testing.assert_close(op.A(x) - y, seen.op.A_dagger(seen.op.A(x) - seen.y), rtol=0, atol=1e-5)


def test_a_detail_that_the_blur_keeps_weighs_as_much_as_the_mean():
    """The point of it: a wave of known gain counts for its square in the one residual and fully in the other."""
    op = tiny.problem("deblur", 1).seen.op
    wave = torch.cos(2 * torch.pi * 2 * torch.arange(tiny.SIDE) / tiny.SIDE).expand(1, 3, tiny.SIDE, tiny.SIDE)
    gain = op.transfer[0, 2].item()
    assert gain > op.cutoff
    zero = torch.zeros_like(wave)
    plain, (carried, nothing) = data_loss(op, wave, zero), data_term(op, zero, "back_projection")
    assert plain.item() == pytest.approx(gain**2 * 0.5, rel=1e-3)
    assert data_loss(carried, wave, nothing).item() == pytest.approx(0.5, rel=1e-3)


def test_stage_fit_dip_makes_the_chosen_residual_small():
    """The loss of the first step, from the networks' own first output."""
    seen, settings = tiny.problem("deblur", 2).seen, tiny.params().dip
    losses = {}
    for kind in ("least_squares", "back_projection"):
        chosen = settings.model_copy(update={"data_term": kind, "steps": 1, "judge_every": 1, "input_noise": 0.0, "precision": "float32"})
        judges = coupled_pair(seen.op, seen.y, seen.sigma_y, 0.5, ImageNoise(0, "witness", seen.names))
        recipe = dip.Recipe.of(chosen.recipe("gaussian_blur"))
        losses[kind] = [row["loss"] for row in fit_dip.fit(seen, judges, chosen, recipe, [1]).trace]
        network = dip.build(recipe.kind, recipe.seed, pair.twins(seen.names), **recipe.network)
        z = dip.network_input(recipe.seed, pair.twins(seen.names), recipe.network["input_channels"], seen.size, recipe.input_cell)
        residual = seen.op.A(network(z).detach()) - judges.y
        carried = seen.op.A_dagger(residual) if kind == "back_projection" else residual
        expected = pair.mean(carried.square().mean((1, 2, 3)))
        assert losses[kind] == pytest.approx(expected.tolist(), rel=1e-3)
    assert losses["least_squares"] != pytest.approx(losses["back_projection"], rel=0.05)
