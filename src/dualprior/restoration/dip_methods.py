"""Methods of the Deep Image Prior alone, from what stage fit_dip kept."""

import numpy as np

from dualprior.restoration.problem import Problem, Restoration

NETWORKS = 2  # fitted side by side to every image, one on each split of the measurement


def dip_at(problem: Problem, past: dict, step: int) -> Restoration:
    """The mean of the paired fits' averaged outputs at a snapshot step."""
    fits = problem.fits
    return Restoration(fits.snapshots[fits.steps.index(step)], step * fits.seconds_per_step, dip_passes=NETWORKS * step)


def dip_stopped(problem: Problem, past: dict) -> Restoration:
    """Where the stopping rule said stop; every step is paid for until it was sure."""
    fits = problem.fits
    steps = float(np.mean(fits.decided_step))
    return Restoration(fits.stopped, fits.seconds_per_step * steps, dip_passes=NETWORKS * steps, error=fits.error)
