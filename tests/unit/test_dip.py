"""Batched fits of a Deep Image Prior."""

import os
import subprocess
import sys

import pytest
import tiny
import torch

from dualprior import dip
from dualprior.errors import UserError
from dualprior.operators import BlockAverage, Identity, Mask
from dualprior.seeding import generator

NAMES = ["a", "b", "c"]
SETTINGS = {"lr": 0.01, "input_noise": 0.03, "ema": 0.9, "seed": 0}


def measurement(kind, count=3):
    x = tiny.images(count)
    op = {"identity": Identity(), "mask": Mask(tiny.mask(count, 0.4)), "average": BlockAverage(4)}[kind]
    return op, op.A(x)


def fit(names, op, y, steps=10, **changes):
    z = dip.network_input(0, names, 4, (tiny.SIDE, tiny.SIDE))
    return list(dip.fit(tiny.skipnet(names), z, op, y, names=names, steps=steps, **SETTINGS | changes))


def plain_loop(name, op, y, steps=10):
    """One image, written out: loss of every step and the averaged output after the last."""
    network, mask = tiny.skipnet([name]), op.mask if isinstance(op, Mask) else torch.ones_like(y)
    optimizer = torch.optim.Adam(network.parameters(), lr=SETTINGS["lr"])
    z, noise = dip.network_input(0, [name], 4, (tiny.SIDE, tiny.SIDE)), generator(0, "dip-noise")
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
    op, y = measurement(kind)
    batched = fit(NAMES, op, y)
    losses, averages = zip(*(plain_loop(name, op[i : i + 1], y[i : i + 1]) for i, name in enumerate(NAMES)), strict=True)
    torch.testing.assert_close(torch.stack([s.loss for s in batched]).T, torch.tensor(losses), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(batched[-1].average, torch.cat(averages), rtol=1e-3, atol=1e-3)


def test_fit_images_builds_the_networks_and_inputs_of_its_recipe():
    op, y = measurement("mask")
    *_, last = dip.fit_images(tiny.RECIPE, op, y, NAMES, (tiny.SIDE, tiny.SIDE), steps=3)
    torch.testing.assert_close(last.average, fit(NAMES, op, y, steps=3)[-1].average, rtol=0, atol=0)


def test_a_recipe_is_read_from_the_parameters():
    settings = tiny.params().dip
    recipe = dip.Recipe.of(settings.model_dump())
    assert (recipe.kind, recipe.lr, recipe.ema, recipe.precision) == ("skip", settings.lr, settings.ema, settings.precision)
    assert recipe.network == settings.network.model_dump(exclude={"kind"})


def test_fitting_never_imports_torchs_compiler():
    """It takes seconds, in every process that fits."""
    program = (
        "import sys, tiny; from dualprior import dip; from dualprior.operators import Identity; x = tiny.images(1); "
        "list(dip.fit_images(tiny.RECIPE, Identity(), x, ['a'], (tiny.SIDE, tiny.SIDE), steps=2)); "
        "assert 'torch._dynamo' not in sys.modules"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tiny.PROJECT / "src"), str(tiny.PROJECT / "tests")])}
    subprocess.run([sys.executable, "-c", program], env=environment, check=True)


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


def test_a_guide_pulls_the_fit_towards_its_target():
    op, y = measurement("mask")
    target = torch.full_like(y, 0.5)
    free, pulled = (fit(NAMES, op, y, steps=40, guide=lambda step, average, w=weight: (target, w))[-1].average for weight in (0.0, 100.0))
    assert ((pulled - target).square().mean() < 0.25 * (free - target).square().mean()).all()


def test_a_guide_without_weight_changes_nothing():
    op, y = measurement("identity")
    guided = fit(NAMES, op, y, guide=lambda step, average: (average, 0.0))[-1].average
    torch.testing.assert_close(guided, fit(NAMES, op, y)[-1].average)


def test_a_guide_is_asked_from_the_second_step_with_the_average_so_far():
    asked = []

    def guide(step, average):
        asked.append((step, average))
        return average, 1.0

    steps = fit(NAMES, *measurement("identity"), steps=4, guide=guide)
    assert [step for step, _ in asked] == [2, 3, 4]
    for done, (_, average) in zip(steps, asked, strict=False):
        torch.testing.assert_close(average, done.average, rtol=0, atol=0)


def test_a_coarse_input_has_no_detail_below_its_cell():
    def roughness(cell):
        z = dip.network_input(0, NAMES, 3, (16, 16), cell)
        assert z.shape == (len(NAMES), 3, 16, 16)
        return float(z.diff(dim=-1).square().mean() / z.var())

    assert roughness(4) < 0.2 * roughness(1)
