"""Batched fits of a Deep Image Prior."""

from types import SimpleNamespace
from typing import get_args

import pytest
import tiny
import torch
from pydantic import ValidationError

from dualprior.common.errors import UserError
from dualprior.common.params import DIPNetwork
from dualprior.common.seeding import generator
from dualprior.degradation.operators import BlockAverage, Identity, Mask
from dualprior.dip import fit as dip
from dualprior.pipeline import fit_dip

NAMES = ["a", "b", "c"]
CPU = torch.device("cpu")
SETTINGS = {"lr": 0.01, "input_noise": 0.03, "ema": 0.9, "seed": 0}


def measurement(kind, count=3):
    x = tiny.images(count)
    op = {"identity": Identity(), "mask": Mask(tiny.mask(count, 0.4)), "average": BlockAverage(4)}[kind]
    return op, op.A(x)


def fit(names, op, y, steps=10, dtype=torch.float32, **changes):
    z = dip.network_input(0, names, 4, (tiny.SIDE, tiny.SIDE)).to(dtype)
    return list(dip.fit(tiny.skipnet(names).to(dtype), z, op, y, names=names, steps=steps, **SETTINGS | changes))


def plain_loop(name, op, y, steps=10):
    """One image, written out: loss of every step and the averaged output after the last."""
    network, mask = tiny.skipnet([name]).to(y), op.mask if isinstance(op, Mask) else torch.ones_like(y)
    optimizer = torch.optim.Adam(network.parameters(), lr=SETTINGS["lr"])
    z, noise = dip.network_input(0, [name], 4, (tiny.SIDE, tiny.SIDE)).to(y), generator(0, "dip-noise")
    average, losses = None, []
    for step in range(1, steps + 1):
        out = network(z + SETTINGS["input_noise"] * torch.randn(z.shape[1:], generator=noise))
        loss = ((op.A(out) - y) ** 2).sum() / mask.expand_as(y).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        decay = min(SETTINGS["ema"], step / (step + 9))
        average = out.detach() if average is None else decay * average + (1 - decay) * out.detach()
        losses.append(loss.item())
    return losses, average


@pytest.mark.parametrize("kind", ["identity", "mask", "average"])
def test_batched_fits_are_the_plain_loop_image_by_image(kind):
    """In float64: where a gradient is nearly 0, Adam makes a whole step of its rounding."""
    op, y = measurement(kind)
    y = y.double()
    batched = fit(NAMES, op, y, dtype=y.dtype)
    losses, averages = zip(*(plain_loop(name, op[i : i + 1], y[i : i + 1]) for i, name in enumerate(NAMES)), strict=True)
    torch.testing.assert_close(torch.stack([s.loss for s in batched]).T, torch.tensor(losses, dtype=y.dtype), rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(batched[-1].average, torch.cat(averages).float(), rtol=1e-5, atol=1e-6)


def test_fit_images_builds_the_networks_and_inputs_of_its_recipe():
    op, y = measurement("mask")
    *_, last = dip.fit_images(tiny.RECIPE, op, y, NAMES, (tiny.SIDE, tiny.SIDE), steps=3, device=CPU)
    torch.testing.assert_close(last.average, fit(NAMES, op, y, steps=3)[-1].average, rtol=0, atol=0)


def test_a_recipe_is_read_from_the_parameters_and_the_operator():
    settings = tiny.params().dip
    for task, cell in (("denoise25", settings.input_cell_denoising), ("sr4", settings.input_cell)):
        recipe = fit_dip.recipe(settings, settings.networks["decoder"], tiny.problem(task, 1).measured)
        assert (recipe.kind, recipe.lr, recipe.ema, recipe.precision) == ("decoder", settings.lr, settings.ema, settings.precision)
        assert recipe.input_cell == cell


@pytest.mark.parametrize(("task", "waits"), [("sr4", True), ("denoise50", False)])
def test_exact_data_are_not_looked_at_before_the_least_step(task, waits):
    """Noisy data are: what is fitted late there is noise."""
    changes = {"steps": 8, "check_every": 2, "least_step": 6, "patience": 100}
    measured, settings = tiny.problem(task, 2).measured, tiny.params().dip.model_copy(update=changes)
    pace = SimpleNamespace(step=lambda: None)
    result = fit_dip.fit_measurement(measured, settings, settings.networks["skip"], pace, "tiny")
    assert sorted({row["step"] for row in result.trace}) == ([6, 8] if waits else [2, 4, 6, 8])
    assert not waits or result.stop.step.min() >= 6


def test_a_fit_in_bfloat16_follows_the_one_in_float32():
    """Emulated where the processor has none, so this runs everywhere."""
    op, y = measurement("identity")
    exact, rounded = (fit(NAMES, op, y, steps=3, autocast=autocast) for autocast in (None, torch.bfloat16))
    assert rounded[-1].average.dtype == torch.float32
    assert not torch.equal(rounded[-1].average, exact[-1].average)
    gap = (rounded[-1].average - exact[-1].average).square().mean().sqrt()
    assert gap < 0.2 * exact[-1].average.square().mean().sqrt()


def test_a_fit_does_not_depend_on_batch_mates_or_their_order():
    op, y = measurement("mask")
    whole = fit(NAMES, op, y)[-1].average
    turned = fit(["c", "a"], op[[2, 0]], y[[2, 0]])[-1].average
    torch.testing.assert_close(turned, whole[[2, 0]], rtol=1e-3, atol=1e-3)


def test_the_fit_comes_nearer_to_its_measurement():
    steps = fit(NAMES, *measurement("identity"), steps=60)
    assert (steps[-1].loss < 0.5 * steps[0].loss).all()


def test_the_first_average_is_the_first_output():
    op, y = measurement("identity")
    first = fit(NAMES, op, y, steps=1, input_noise=0.0)[0]
    expected = tiny.skipnet(NAMES)(dip.network_input(0, NAMES, 4, (tiny.SIDE, tiny.SIDE)))
    torch.testing.assert_close(first.average, expected)


def test_input_is_uniform_from_0_to_a_tenth():
    z = dip.network_input(0, ["a"], 8, (64, 64))
    assert z.min() >= 0
    assert z.max() <= 0.1
    assert z.mean().item() == pytest.approx(0.05, rel=0.01)


def test_loss_of_a_mask_is_a_mean_over_its_known_pixels():
    op = Mask(tiny.mask(3, 0.25))
    torch.testing.assert_close(dip.data_loss(op, torch.full((3, 3, 16, 16), 2.0), torch.zeros(3, 3, 16, 16)), torch.full((3,), 4.0))


def test_loss_of_a_smaller_measurement_is_a_mean_over_it():
    out, y = torch.full((2, 3, 16, 16), 2.0), torch.zeros(2, 3, 4, 4)
    torch.testing.assert_close(dip.data_loss(BlockAverage(4), out, y), torch.full((2,), 4.0))


@pytest.mark.parametrize(("steps", "count"), [(2, 2), (12, 4), (300, 20), (2000, 40), (20, 20)])
def test_snapshots_rise_and_end_with_the_last_step(steps, count):
    found = dip.snapshot_steps(steps, count)
    assert found == sorted(set(found))
    assert found[-1] == steps
    assert found[0] >= 1
    assert len(found) <= count


def test_default_snapshots_are_all_different():
    assert len(dip.snapshot_steps(300, 20)) == 20


def test_a_fit_that_diverges_is_refused_and_names_the_image():
    op, y = measurement("identity")
    y[1, 0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="the fit of b has loss nan at step 1; lower dip.lr .now 0.01"):
        fit(NAMES, op, y)


# --- values that are kept, a measurement and an input that change ---------------------------------------------


def test_loss_of_kept_values_is_a_mean_over_them():
    out, y, keep = torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0), torch.zeros(2, 1, 4, 4)
    keep[0, :, 0, :2], keep[1, :, 3] = 1, 1
    y[:, :, 1] = 99
    torch.testing.assert_close(dip.data_loss(Identity(), out, y, keep), torch.full((2,), 4.0))


def test_kept_values_may_differ_between_colours():
    out, y, keep = torch.zeros(1, 3, 2, 2), torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1).expand(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    keep[0, 0, 0], keep[0, 2, 0, 0] = 1, 1  # two values of 1, one of 9
    torch.testing.assert_close(dip.data_loss(Identity(), out, y, keep), torch.tensor([11 / 3]))


def test_values_that_are_not_kept_are_not_fitted():
    """They may be anything: the fit is the same."""
    op, y = measurement("identity")
    keep = tiny.mask(3, 0.5)
    kept, disturbed = (fit(NAMES, op, torch.where(keep > 0, y, other), keep=keep) for other in (0.0, 5.0))
    torch.testing.assert_close(disturbed[-1].average, kept[-1].average, rtol=0, atol=0)
    torch.testing.assert_close(disturbed[-1].loss, kept[-1].loss, rtol=0, atol=0)


def test_keeping_what_a_mask_knows_is_the_masks_own_loss():
    op, y = measurement("mask")
    torch.testing.assert_close(fit(NAMES, op, y, keep=op.mask)[-1].average, fit(NAMES, op, y)[-1].average, rtol=0, atol=0)


@pytest.mark.parametrize("given", ["keep", "operator"])
def test_an_image_of_which_nothing_is_known_is_refused_by_name(given):
    y, mask = tiny.images(3), torch.ones(3, 1, tiny.SIDE, tiny.SIDE)
    mask[1] = 0
    with pytest.raises(UserError, match="nothing of b is known: its mask is all zeros; raise the task's keep in params.yaml"):
        fit(NAMES, Mask(mask), y) if given == "operator" else fit(NAMES, Identity(), y, keep=mask)


def test_a_mask_of_zeros_for_all_images_names_the_first():
    with pytest.raises(UserError, match="nothing of a is known"):
        dip.check_measured(Identity(), tiny.images(3), NAMES, torch.zeros(1, 1, tiny.SIDE, tiny.SIDE))


def test_a_measurement_that_is_the_same_at_every_step_is_that_measurement():
    op, y = measurement("average")
    torch.testing.assert_close(fit(NAMES, op, lambda step: y)[-1].average, fit(NAMES, op, y)[-1].average, rtol=0, atol=0)


def test_a_changing_measurement_is_that_of_its_step():
    """The losses are those of the outputs shown, to y of the same step."""
    op, y = measurement("identity")
    for done in fit(NAMES, op, lambda step: y + 0.1 * step, steps=4):
        torch.testing.assert_close(done.loss, dip.data_loss(op, done.output, y + 0.1 * done.step))


def test_an_input_scale_of_one_changes_nothing():
    op, y = measurement("identity")
    scaled = fit(NAMES, op, y, input_scale=lambda step: torch.ones(3))[-1].average
    torch.testing.assert_close(scaled, fit(NAMES, op, y)[-1].average, rtol=0, atol=0)


def test_an_input_scale_is_that_of_every_image():
    """Twice the jitter for one image is the fit with twice the jitter, none for another the fit without."""
    op, y = measurement("identity")
    scaled = fit(NAMES, op, y, input_scale=lambda step: torch.tensor([1.0, 2.0, 0.0]))[-1].average
    alone = [fit(NAMES, op, y, input_noise=noise)[-1].average[i] for i, noise in enumerate((0.03, 0.06, 0.0))]
    torch.testing.assert_close(scaled, torch.stack(alone), rtol=1e-5, atol=1e-5)


# --- networks and inputs --------------------------------------------------------------------------------------


def test_the_settings_know_every_network_and_no_other():
    assert set(get_args(DIPNetwork.model_fields["kind"].annotation)) == set(dip.NETWORKS)


@pytest.mark.parametrize("kind", dip.NETWORKS)
def test_every_network_is_accepted_by_the_settings_and_built_from_them(kind):
    skips = {"skip_channels": 2} if kind == "skip" else {}
    network = DIPNetwork.model_validate({"kind": kind, "channels": (4, 4), "input_channels": 4, **skips}).model_dump()
    recipe = dip.Recipe.of(tiny.params().dip.model_dump(), network)
    *_, last = dip.fit_images(recipe, *measurement("identity"), NAMES, (tiny.SIDE, tiny.SIDE), steps=2, device=CPU)
    assert last.average.shape == (3, 3, tiny.SIDE, tiny.SIDE)


def test_a_network_that_does_not_exist_is_refused_by_the_settings():
    with pytest.raises(ValidationError, match="kind"):
        DIPNetwork.model_validate({"kind": "transformer", "channels": (4,), "input_channels": 4})


def test_a_coarse_input_has_no_detail_below_its_cell():
    def roughness(cell):
        z = dip.network_input(0, NAMES, 3, (16, 16), cell)
        assert z.shape == (len(NAMES), 3, 16, 16)
        return float(z.diff(dim=-1).square().mean() / z.var())

    assert roughness(4) < 0.2 * roughness(1)
