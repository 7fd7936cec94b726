"""The catalogue: every named method as a procedure and the settings tried for it on validation images.

A new method is one entry of `catalogue`. Order matters: a method may build on those above it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dualprior import restorers as r
from dualprior.operators import BlockAverage, GaussianBlur, Identity
from dualprior.problem import CoupledSettings, Estimate, Problem
from dualprior.settings.restore import Hybrid, Restore

# A round maps setting names to the values tried together; later rounds keep the best of earlier ones.
Rounds = list[dict[str, list]]
DDPM_ALONE = ("one_step", "ddpm_best", "ddpm_mean")


@dataclass(frozen=True)
class Method:
    label: str  # as shown to readers
    run: Callable[..., Estimate]  # run(problem, past, **setting)
    rounds: Rounds
    test_only: bool = False  # nothing is chosen and nothing builds on it, so validation images are spared


CHEAP_STARTS = {
    "input": Method("measurement", r.as_image, [{}]),
    "pinv": Method("A†y", r.pseudo_inverse, [{}]),
    "bicubic": Method("bicubic", r.bicubic, [{}]),
    "blurred": Method("blurred y", r.blurred, [{"std": [0.5, 0.7, 1.0, 1.4]}]),
}


def catalogue(problem: Problem, restore: Restore, hybrid: Hybrid, coupled: CoupledSettings) -> dict[str, Method]:
    """Every method that makes sense for the problem's operator, in the order they run."""
    op, noisy = problem.seen.op, problem.seen.sigma_y > 0
    weights = list(restore.ddpm.data_weights) if noisy else [1.0]  # without noise the data are met exactly
    zetas, calls = list(restore.ddpm.zetas), list(restore.ddpm.calls)
    restarts = {"scale": list(hybrid.start_scales), "calls": list(hybrid.calls), "data_weight": [hybrid.data_weight]}
    cheap = cheap_starts(problem)
    blend = {"second": [*DDPM_ALONE, "restart_cheap"], "weight": [k / 20 for k in range(21)]}
    levels = sorted({*restore.one_step_levels, *([problem.seen.sigma_y] if noisy else [])})
    own = {"start": ["input"], "level": [problem.seen.sigma_y]} if isinstance(op, Identity) else None

    methods = {
        **{name: CHEAP_STARTS[name] for name in cheap},
        "one_step": Method("one call D(y)", r.one_step, [own or {"start": cheap, "level": levels}]),
        "ddpm_best": Method(
            f"DDPM, at most {max(calls)} calls",
            r.chain,
            [{"zeta": zetas, "data_weight": weights, "calls": calls[:1], "grid": ["schedule"]}, {"grid": ["few_step"]}, {"calls": calls}],
        ),
        "ddpm_1000": Method("DDPM, full chain", r.full_chain, [{"calls": [restore.full.calls]}], test_only=True),
        "ddpm_mean": Method(
            f"mean of {restore.mean.samples} DDPM chains",
            partial(r.mean_of_chains, samples=restore.mean.samples, calls=restore.mean.calls),
            [{"zeta": zetas, "data_weight": weights[:1]}, {"data_weight": weights}],
        ),
        "dip_last": Method("DIP, last step", r.dip_at, [{"step": [problem.fits.steps[-1]]}]),
        "dip_stopped": Method("DIP, stopped", r.dip_stopped, [{}]),
        "restart_cheap": Method("restart, cheap start", r.restarted, [{"start": [*cheap, "one_step"], **restarts}]),
        "restart_dip": Method("restart, DIP start", r.restarted, [{"start": ["dip_stopped"], **restarts}]),
        "coupled": Method("DIP pulled by D", partial(r.coupled, settings=coupled), [{"step": r.coupled_steps(coupled)}]),
        "restart_coupled": Method("restart, coupled start", r.restarted, [{"start": ["coupled"], **restarts}]),
        "fused_cheap": Method("cheap restart + DDPM", r.fused, [{"first": ["restart_cheap"], **blend}]),
        "fused": Method("DIP + DDPM", r.fused, [{"first": ["dip_stopped"], **blend}]),
        "fused_coupled": Method("coupled + DDPM", r.fused, [{"first": ["coupled"], **blend}]),
        "restart_fused": Method("restart, fused start", r.restarted, [{"start": ["fused"], **restarts}]),
    }
    return methods | {"hybrid": Method("hybrid", lambda problem, past, of: past[of], [{"of": list(HYBRIDS)}])}


HYBRIDS = ("restart_dip", "coupled", "restart_coupled", "fused", "fused_coupled", "restart_fused")


def cheap_starts(problem: Problem) -> list[str]:
    """Those of `CHEAP_STARTS` that differ from one another here: y, its pseudo-inverse or bicubic, and a blur of it."""
    own = {BlockAverage: ["bicubic"], GaussianBlur: ["pinv"]}.get(type(problem.seen.op), [])
    return ["input", *own, "blurred"]
