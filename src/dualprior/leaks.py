"""Protocols met in public solutions to this problem that let the clean image in, or take something else for noise.

Each can be run as it is found, with what is wrong, and with that mended. What is wrong is marked `leaks` and never
ranked with the methods of the catalogue.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from dualprior import dip, restorers, schedule
from dualprior.consistency import lay_data, proximal
from dualprior.operators import Identity
from dualprior.problem import Estimate, Problem
from dualprior.sampling import last, restart, reverse, zeta_split
from dualprior.settings.audit import Audit


class Given(NamedTuple):
    """What every protocol is handed; `clean` is read by the broken ones only."""

    problem: Problem
    start: Estimate  # the stopped DIP, with its predicted error
    clean: Tensor  # [n, C, H, W]
    recipe: dip.Recipe
    settings: Audit


class Protocol(NamedTuple):
    wrong: str  # what is wrong with it as found
    leaks: bool  # whether what is wrong is that the clean image is seen
    run: Callable[[Given, bool], Tensor]  # (given, as found) -> [n, C, H, W]


def noised_targets(given: Given, as_found: bool) -> Tensor:
    """A DIP fitted to ever less noisy copies of its target: of the clean image, or of the measurement."""
    problem, settings = given.problem, given.settings
    seen = problem.seen
    op, target = (Identity(), given.clean) if as_found else (seen.op, seen.y)
    taus = torch.linspace(settings.top, 0.0, settings.rungs, device=target.device)
    noise = problem.noise("audit-rungs")
    frozen = torch.stack([noise(target) for _ in taus])

    def fitted(step: int) -> Tensor:
        rung = (step - 1) * settings.rungs // settings.steps
        return target + taus[rung] * frozen[rung]

    for done in dip.fit_images(given.recipe, op, fitted, seen.names, seen.size, settings.steps, device=target.device):
        average = done.average
    return lay_data(seen.op, average, seen.y, seen.sigma_y)


def guide(given: Given, as_found: bool) -> Tensor:
    """Noise guidance of a chain from pure noise: by the clean image, or by the stopped DIP."""
    settings = given.settings
    image = given.start if not as_found else replace(given.start, x=given.clean)
    return restorers.guided_chain(given.problem, image, settings.calls, 1.0, settings.gamma).x


def shifted_noise(given: Given, as_found: bool) -> Tensor:
    """A restart from the DIP with 0.5 z + 0.5 in place of z, on images in [0, 1]: half the noise and a brighter image.

    On [-1, 1] that is z + 1 at half the level of the schedule, which the denoiser is not told.
    """
    problem, settings = given.problem, given.settings
    seen, begin = problem.seen, given.start
    level = (2.0 * begin.error).clamp(max=float(problem.levels[-1]))
    z = problem.noise("audit-restart")(begin.x)
    x = restart(begin.x, torch.zeros_like(begin.error), level, 0.5 * z + 0.5 if as_found else z)
    grid = schedule.few_step_grid(level.double().cpu().numpy(), settings.restart_calls)
    data = proximal(seen.op, seen.y, seen.sigma_y)
    return last(reverse(problem.denoise, x, grid, split=partial(zeta_split, zeta=0.0), rectify=data)).x0


PROTOCOLS = {
    "noised_targets": Protocol("DIP fitted to noised copies of the clean image", True, noised_targets),
    "guide": Protocol("the clean image guides the reverse process", True, guide),
    "shifted_noise": Protocol("0.5 z + 0.5 taken for noise", False, shifted_noise),
}
