"""The audit's protocols: as found they see the clean image, mended they do not."""

from dataclasses import replace

import pytest
import tiny
import torch

from dualprior.common.params import Audit
from dualprior.restoration.diffusion_methods import dip_stopped
from dualprior.restoration.leaky_protocols import PROTOCOLS, Given

SETTINGS = Audit(tasks=("denoise50",), steps=6, rungs=3, top=0.5, calls=3, gamma=1.0, restart_calls=2)
LEAKING = [name for name, protocol in PROTOCOLS.items() if protocol.leaks]


def given(task: str, **changes) -> Given:
    problem = tiny.problem(task, 2)
    start = replace(dip_stopped(problem, {}), error=torch.tensor([0.2, 0.3]))
    return Given(problem, start, tiny.images(2), tiny.RECIPE, SETTINGS)._replace(**changes)


@pytest.mark.parametrize("task", ["denoise50", "sr4", "inpaint_random", "deblur"])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_mended_protocols_do_not_see_the_clean_image(name, task):
    """Another clean image, the same result."""
    run = PROTOCOLS[name].run
    other = given(task, clean=-tiny.images(2))
    torch.testing.assert_close(run(given(task), False), run(other, False), rtol=0, atol=0)


@pytest.mark.parametrize("name", LEAKING)
def test_a_leaking_protocol_follows_the_clean_image(name):
    run = PROTOCOLS[name].run
    assert (run(given("denoise50"), True) - run(given("denoise50", clean=-tiny.images(2)), True)).abs().max() > 0.05


def test_what_only_mistakes_the_noise_is_not_called_a_leak():
    run = PROTOCOLS["shifted_noise"].run
    assert "shifted_noise" not in LEAKING
    torch.testing.assert_close(run(given("denoise50"), True), run(given("denoise50", clean=-tiny.images(2)), True), rtol=0, atol=0)


def test_a_guide_is_followed_where_it_is_exact():
    """A clean image of no error as guide, no data to be met: the chain ends at it."""
    exact = given("denoise50")
    exact = exact._replace(start=replace(exact.start, error=torch.full((2,), 1e-6)))
    x = PROTOCOLS["guide"].run(exact, True)
    measured = exact.problem.measured
    levels = exact.problem.levels
    rho = (measured.sigma_y / levels[0]) ** 2
    torch.testing.assert_close(x, measured.op.prox(exact.clean, measured.y, rho), rtol=1e-3, atol=1e-3)


def test_the_targets_end_without_noise():
    """With many steps on the last rung the fit ends near the clean image, nearer than the measurement is."""
    long = given("denoise50", settings=SETTINGS.model_copy(update={"steps": 150}))
    clean, y = long.clean, long.problem.measured.y
    error = (PROTOCOLS["noised_targets"].run(long, True) - clean).square().mean((1, 2, 3))
    assert (error < 0.25 * (y - clean).square().mean((1, 2, 3))).all()
