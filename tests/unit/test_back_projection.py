"""The residual carried back into the image."""

import pytest
import tiny
import torch
from dualprior.degradation.data_fidelity import data_term

from dualprior.common.seeding import ImageNoise
from dualprior.dip import fit as dip
from dualprior.dip.fit import data_loss, paired_fits
from dualprior.dip.risk import recorrupted_split
from dualprior.pipeline import fit_dip

TASKS = ("denoise25", "sr4", "inpaint_random", "inpaint_box", "deblur")


@pytest.mark.parametrize("task", TASKS)
def test_least_squares_leaves_the_measurement_alone(task):
    measured = tiny.problem(task, 2).measured
    assert data_term(measured.op, measured.y, "least_squares") == (measured.op, measured.y)


@pytest.mark.parametrize("task", TASKS[:-1])
def test_without_a_blur_both_residuals_agree(task):
    """Written out: mean over the values that A†A keeps of (A†(A x - y))²."""
    measured, x = tiny.problem(task, 2).measured, torch.randn(2, 3, tiny.SIDE, tiny.SIDE)
    op, y = data_term(measured.op, measured.y, "back_projection")
    carried = measured.op.A_dagger(measured.op.A(x) - measured.y).square()
    seen_values = measured.op.A_dagger(measured.op.A(torch.ones_like(x))) > 0
    expected = (carried * seen_values).sum((1, 2, 3)) / seen_values.sum((1, 2, 3))
    torch.testing.assert_close(data_loss(op, x, y), expected)


def test_a_blur_is_carried_back():
    measured, x = tiny.problem("deblur", 2).measured, torch.randn(2, 3, tiny.SIDE, tiny.SIDE)
    op, y = data_term(measured.op, measured.y, "back_projection")
    torch.testing.assert_close(op.A(x) - y, measured.op.A_dagger(measured.op.A(x) - measured.y), rtol=0, atol=1e-5)


def test_a_detail_that_the_blur_keeps_weighs_as_much_as_the_mean():
    """The point of it: a wave of known gain counts for its square in the one residual and fully in the other."""
    op = tiny.problem("deblur", 1).measured.op
    wave = torch.cos(2 * torch.pi * 2 * torch.arange(tiny.SIDE) / tiny.SIDE).expand(1, 3, tiny.SIDE, tiny.SIDE)
    gain = op.transfer[0, 2].item()
    assert gain > op.cutoff
    zero = torch.zeros_like(wave)
    plain, (carried, nothing) = data_loss(op, wave, zero), data_term(op, zero, "back_projection")
    assert plain.item() == pytest.approx(gain**2 * 0.5, rel=1e-3)
    assert data_loss(carried, wave, nothing).item() == pytest.approx(0.5, rel=1e-3)


def test_stage_fit_dip_makes_the_chosen_residual_small():
    """The loss of the first step, from the networks' own first output."""
    measured, settings = tiny.problem("deblur", 2).measured, tiny.params().dip
    losses = {}
    for kind in ("least_squares", "back_projection"):
        chosen = settings.model_copy(update={"data_term": kind, "steps": 1, "judge_every": 1, "input_noise": 0.0, "precision": "float32"})
        risk = recorrupted_split(measured.op, measured.y, measured.sigma_y, 0.5, ImageNoise(0, "witness", measured.names))
        recipe = dip.Recipe.of(chosen.recipe("gaussian_blur"))
        losses[kind] = [row["loss"] for row in fit_dip.fit(measured, risk, chosen, recipe, [1]).trace]
        network = dip.build(recipe.kind, recipe.seed, paired_fits.paired_names(measured.names), **recipe.network)
        z = dip.network_input(recipe.seed, paired_fits.paired_names(measured.names), recipe.network["input_channels"], measured.size, recipe.input_cell)
        residual = measured.op.A(network(z).detach()) - risk.y
        carried = measured.op.A_dagger(residual) if kind == "back_projection" else residual
        expected = paired_fits.mean(carried.square().mean((1, 2, 3)))
        assert losses[kind] == pytest.approx(expected.tolist(), rel=1e-3)
    assert losses["least_squares"] != pytest.approx(losses["back_projection"], rel=0.05)
