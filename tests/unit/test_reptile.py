"""Reptile: the outer step against its definition, and whether a learned state saves steps."""

from dataclasses import replace

import tiny
import torch
from studies.hybrid import reptile

from dualprior.degradation.operators import Identity
from dualprior.dip import fit as dip

IMAGES = tiny.images(4)
SETTINGS = {"inner": 3, "batch": 2, "noise": 0.0}


def test_networks_in_rows_share_a_state_too():
    names = [f"image{i}" for i in range(dip.CHUNK + 2)]
    one, many = reptile.mean_state(tiny.skipnet(["x"])), tiny.skipnet(names)
    reptile.give(many, one)
    torch.testing.assert_close(reptile.mean_state(many), one)


def test_the_mean_of_copies_of_one_state_is_that_state():
    one = reptile.mean_state(tiny.skipnet(["x"]))
    copies = tiny.skipnet(["a", "b", "c"])
    reptile.give(copies, one)
    torch.testing.assert_close(reptile.mean_state(copies), one)
    z = torch.rand(1, tiny.SKIP["input_channels"], tiny.SIDE, tiny.SIDE).expand(3, -1, -1, -1)
    out = copies(z)
    torch.testing.assert_close(out[1:], out[:1].expand(2, -1, -1, -1))


def test_the_mean_is_over_networks_and_not_over_channels():
    both = tiny.skipnet(["a", "b"])
    alone = [reptile.mean_state(tiny.skipnet([name])) for name in "ab"]
    for name, weight in reptile.mean_state(both).items():
        torch.testing.assert_close(weight, (alone[0][name] + alone[1][name]) / 2)


def test_an_outer_step_goes_its_share_of_the_way_to_the_fitted_weights():
    """theta + rate (mean of fitted - theta): linear in the rate, from the same draws."""
    fresh = reptile.mean_state(tiny.skipnet(["reptile"]))
    half, whole = (next(reptile.learn(tiny.RECIPE, IMAGES, outer=1, rate=rate, **SETTINGS)).state for rate in (0.5, 1.0))
    for name, start in fresh.items():
        torch.testing.assert_close(half[name] - start, 0.5 * (whole[name] - start), rtol=1e-3, atol=1e-6)
    assert any((whole[name] - start).abs().max() > 1e-3 for name, start in fresh.items())


def test_the_share_falls_to_nothing_with_the_outer_steps():
    states = [done.state for done in reptile.learn(tiny.RECIPE, IMAGES, outer=20, rate=1.0, **SETTINGS)]
    moved = [sum((b[name] - a[name]).abs().sum() for name in a) for a, b in zip(states, states[1:], strict=False)]
    assert moved[-1] < 0.3 * moved[0]


def after(steps, count: int) -> torch.Tensor:
    return next(done.loss for done in steps if done.step == count).mean()


def test_a_learned_state_is_nearer_to_images_of_its_kind_than_a_fresh_one():
    recipe = replace(tiny.RECIPE, lr=0.02)
    *_, learned = reptile.learn(recipe, tiny.images(6)[2:], outer=25, rate=1.0, inner=12, batch=4, noise=0.0)
    held_out, names, size = tiny.images(2), ["p", "q"], (tiny.SIDE, tiny.SIDE)
    meta = reptile.fit_from(learned.state, recipe, Identity(), held_out, names, size, 12)
    fresh = dip.fit_images(recipe, Identity(), held_out, names, size, 12, device=torch.device("cpu"))
    assert after(meta, 12) < 0.8 * after(fresh, 12)


def test_a_fit_from_a_state_does_not_depend_on_its_batch_mates():
    state = reptile.mean_state(tiny.skipnet(["reptile"]))

    def fitted(count: int) -> torch.Tensor:
        names, size = ["p", "q"][:count], (tiny.SIDE, tiny.SIDE)
        *_, done = reptile.fit_from(state, tiny.RECIPE, Identity(), IMAGES[:count], names, size, 4)
        return done.average

    both, alone = fitted(2), fitted(1)
    torch.testing.assert_close(both[:1], alone, rtol=1e-3, atol=1e-4)
