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

from dualprior.common.params import Audit
from dualprior.degradation.data_consistency import project_on_exact_data, proximal
from dualprior.degradation.operators import Identity
from dualprior.diffusion import schedule
from dualprior.diffusion.samplers import last, restart, reverse, zeta_split
from dualprior.dip import fit as dip
from dualprior.restoration.hybrid_methods import guided_chain
from dualprior.restoration.problem import Problem, Restoration


class Given(NamedTuple):
    """What every protocol is handed; `clean` is read by the broken ones only."""

    problem: Problem
    start: Restoration  # the stopped DIP, with its predicted error
    clean: Tensor  # [n, C, H, W]
    settings: Audit


class Protocol(NamedTuple):
    wrong: str  # what is wrong with it as found
    leaks: bool  # whether what is wrong is that the clean image is seen
    run: Callable[[Given, bool], Tensor]  # (given, as found) -> [n, C, H, W]


def noised_targets(given: Given, as_found: bool) -> Tensor:
    """A DIP fitted to ever less noisy copies of its target: of the clean image, or of the measurement."""
    problem, settings = given.problem, given.settings
    measured = problem.measured
    op, target = (Identity(), given.clean) if as_found else (measured.op, measured.y)
    taus = torch.linspace(settings.top, 0.0, settings.levels, device=target.device)
    noise = problem.noise("audit-rungs")
    frozen = torch.stack([noise(target) for _ in taus])

    def fitted(step: int) -> Tensor:
        level = (step - 1) * settings.levels // settings.steps
        return target + taus[level] * frozen[level]

    for done in dip.fit_images(problem.fits.recipe, op, fitted, measured.names, measured.size, settings.steps, device=target.device):
        average = done.average
    return project_on_exact_data(measured.op, average, measured.y, measured.sigma_y)


def guide(given: Given, as_found: bool) -> Tensor:
    """Noise guidance of a chain from pure noise: by the clean image, or by the stopped DIP."""
    settings = given.settings
    image = given.start if not as_found else replace(given.start, x=given.clean)
    return guided_chain(given.problem, image, settings.calls, 1.0, settings.gamma, "guided").x


def shifted_noise(given: Given, as_found: bool) -> Tensor:
    """A restart from the DIP with 0.5 z + 0.5 in place of z, on images in [0, 1]: half the noise and a brighter image.

    On [-1, 1] that is z + 1 at half the level of the schedule, which the denoiser is not told.
    """
    problem, settings = given.problem, given.settings
    measured, begin = problem.measured, given.start
    level = (2.0 * begin.error).clamp(max=float(problem.levels[-1]))
    z = problem.noise("audit-restart")(begin.x)
    x = restart(begin.x, torch.zeros_like(begin.error), level, 0.5 * z + 0.5 if as_found else z)
    grid = schedule.few_step_grid(level.double().cpu().numpy(), settings.restart_calls)
    data = proximal(measured.op, measured.y, measured.sigma_y)
    return last(reverse(problem.denoise, x, grid, split=partial(zeta_split, zeta=0.0), data_consistency=data)).x0


PROTOCOLS = {
    "noised_targets": Protocol("DIP fitted to noised copies of the clean image", True, noised_targets),
    "guide": Protocol("the clean image guides the reverse process", True, guide),
    "shifted_noise": Protocol("0.5 z + 0.5 taken for noise", False, shifted_noise),
}
