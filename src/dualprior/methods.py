"""The catalogue: every named method as a procedure and the settings tried for it on validation images.

A new method is one entry of `catalogue`. Order matters: a method may build on those above it.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor

from dualprior import coupling, fusion, starts
from dualprior import restorers as r
from dualprior.operators import BlockAverage, GaussianBlur, Identity, Mask
from dualprior.problem import CoupledSettings, Estimate, Problem, rmse
from dualprior.settings.restore import Hybrid, Restore

# A round maps setting names to the values tried together; later rounds keep the best of earlier ones.
Rounds = list[dict[str, list]]
HYBRID = "hybrid"
DDPM_ALONE = ("one_step", "ddpm_best", "ddpm_mean")


@dataclass(frozen=True)
class Method:
    label: str  # as shown to readers
    run: Callable[..., Estimate]  # run(problem, past, **setting)
    rounds: Rounds
    few: bool = False  # too slow for more than the first images, validation and test; nothing builds on it
    learn: Callable[[dict[str, Estimate], Tensor], dict] | None = None  # in place of rounds: validation estimates, clean -> setting


CHEAP_STARTS = {
    "input": Method("measurement", starts.as_image, [{}]),
    "pinv": Method("A†y", starts.pseudo_inverse, [{}]),
    "bicubic": Method("bicubic", starts.bicubic, [{}]),
    "biharmonic": Method("biharmonic", starts.biharmonic, [{}]),
    "blurred": Method("blurred y", starts.blurred, [{"std": [0.5, 0.7, 1.0, 1.4]}]),
}


def catalogue(problem: Problem, restore: Restore, hybrid: Hybrid, coupled: CoupledSettings) -> dict[str, Method]:
    """Every method that makes sense for the problem's operator, in the order they run."""
    op, noisy = problem.seen.op, problem.seen.sigma_y > 0
    weights = list(restore.ddpm.data_weights) if noisy else [1.0]  # without noise the data are met exactly
    zetas, calls = list(restore.ddpm.zetas), list(restore.ddpm.calls)
    full = {"calls": [min(restore.full.calls, len(problem.levels))], "zeta": list(restore.full.zetas)}
    restart = {"inflation": list(hybrid.inflations), "scale": [hybrid.start_scale], "data_weight": [hybrid.data_weight]}
    one, several = ({**restart, "calls": [calls]} for calls in (hybrid.calls, hybrid.sample_calls))
    swept = {"scale": list(restore.restart.scales), "calls": list(restore.restart.calls)}
    guided = {"calls": [hybrid.guided_calls], "data_weight": [hybrid.data_weight]}
    gammas = {"gamma": list(hybrid.gammas)}  # tried after the first has chosen the guide
    restarted = partial(r.restarted, asked_by=f"{r.OWN} or restore.restart.scales")
    mean_of_guided = partial(r.mean_of_guided, samples=hybrid.samples)
    mean_of_restarts = partial(r.mean_of_restarts, samples=hybrid.samples)
    cheap = cheap_starts(problem)
    cheap_parts = [name for name in CHEAP_PARTS if name in cheap or name not in CHEAP_STARTS]
    blend = {"second": [*DDPM_ALONE, "restart_cheap"], "weight": [k / 20 for k in range(21)]}
    levels = sorted({*restore.one_step_levels, *([problem.seen.sigma_y] if noisy else [])})
    short = min(problem.fits.steps, key=lambda step: abs(step - restore.short_dip))
    own = {"start": ["input"], "level": [problem.seen.sigma_y]} if isinstance(op, Identity) else None

    methods = {
        **{name: CHEAP_STARTS[name] for name in cheap},
        "one_step": Method("one call D(y)", r.one_step, [own or {"start": cheap, "level": levels}]),
        "ddpm_best": Method(
            f"DDPM, at most {max(calls)} calls",
            r.chain,
            [{"zeta": zetas, "data_weight": weights, "calls": calls[:1], "grid": ["schedule"]}, {"grid": ["few_step"]}, {"calls": calls}],
        ),
        "ddpm_1000": Method("DDPM, full chain", r.chain, [{**full, "data_weight": weights[:1]}, {"data_weight": weights}], few=True),
        "ddpm_mean": Method(
            f"mean of {restore.mean.samples} DDPM chains",
            partial(r.mean_of_chains, samples=restore.mean.samples, calls=restore.mean.calls),
            [{"zeta": zetas, "data_weight": weights[:1]}, {"data_weight": weights}],
        ),
        "ddpm_mean_long": Method(
            f"mean of DDPM chains, {restore.mean.long_calls} calls in all",
            partial(r.mean_of_more_chains, total=restore.mean.long_calls, usual=restore.mean.calls),
            [{"like": ["ddpm_best", "ddpm_mean"]}],
        ),
        "dip_short": Method("DIP, a short fit", r.dip_at, [{"step": [short]}]),
        "dip_last": Method("DIP, last step", r.dip_at, [{"step": [problem.fits.steps[-1]]}]),
        "dip_stopped": Method("DIP, stopped", r.dip_stopped, [{}]),
        "restart_cheap": Method("restart, cheap start", restarted, [{"start": [*cheap, "one_step"], **one}, swept]),
        "restart_cheap_mean": Method("mean of restarts, cheap start", mean_of_restarts, [{"start": [*cheap, "one_step"], **several}]),
        "guided_cheap_mean": Method(
            "mean of chains, cheap guide",
            mean_of_guided,
            [{"start": [*cheap, "one_step", "restart_cheap"], **guided, "gamma": [hybrid.gammas[0]]}, gammas],
        ),
        "fused_cheap": Method("cheap restart + DDPM", r.fused, [{"first": ["restart_cheap"], **blend}]),
        "blend_cheap": Method("blend without DIP", r.blended, [], learn=partial(_learn_blend, cheap_parts)),
        "restart_blend_cheap": Method("restart, blend without DIP", r.restarted, [{"start": ["blend_cheap"], **one}]),
        "finished_cheap": Method("twin without DIP", r.blended, [], learn=partial(_learn_blend, ("blend_cheap", "restart_blend_cheap"))),
        "restart_dip_short": Method("restart, short DIP", r.restarted, [{"start": ["dip_short"], **one}]),
        "restart_dip": Method("restart, DIP start", restarted, [{"start": ["dip_stopped"], **one}, swept]),
        "restart_dip_mean": Method("mean of restarts, DIP start", mean_of_restarts, [{"start": ["dip_stopped"], **several}]),
        "guided_dip_mean": Method("mean of chains, DIP guide", mean_of_guided, [{"start": ["dip_stopped"], **guided, **gammas}]),
        "coupled": Method("DIP pulled by D", partial(coupling.coupled, settings=coupled), [{"step": coupling.coupled_steps(coupled)}]),
        "restart_coupled": Method("restart, coupled start", r.restarted, [{"start": ["coupled"], **one}]),
        "fused": Method("DIP + DDPM", r.fused, [{"first": ["dip_stopped"], **blend}]),
    }
    if isinstance(op, Identity):
        methods["adapted"] = Method("D fitted to y", partial(r.adapted, settings=hybrid.adapt), [{}])
        methods["restart_adapted"] = Method("restart, adapted start", r.restarted, [{"start": ["adapted"], **one}])
        no_dip = (*cheap_parts, *ADAPTED["adapted"])
        methods["blend_adapted"] = Method("blend without DIP, D adapted", r.blended, [], learn=partial(_learn_blend, no_dip))
        methods["restart_blend_adapted"] = Method("restart, that blend", r.restarted, [{"start": ["blend_adapted"], **one}])
        ends = ("blend_adapted", "restart_blend_adapted")
        methods["finished_adapted"] = Method("twin without DIP, D adapted", r.blended, [], learn=partial(_learn_blend, ends))
    parts = [name for name in PARTS if name in methods]
    methods["blend"] = Method("blend of both priors", r.blended, [], learn=partial(_learn_blend, parts))
    methods["restart_blend"] = Method("restart, blended start", r.restarted, [{"start": ["blend"], **one}])
    return methods | {HYBRID: Method("hybrid", r.blended, [], learn=partial(_learn_blend, ("blend", "restart_blend")))}


# What is blended, by where it comes from.
CHEAP = {
    "one call": ("one_step",),
    "chains": ("ddpm_mean", "ddpm_mean_long"),
    "restarts": ("restart_cheap", "restart_cheap_mean"),
    "guided": ("guided_cheap_mean",),
    "interpolation": ("bicubic", "biharmonic"),
}
DIP = {"DIP": ("dip_stopped", "restart_dip", "restart_dip_mean", "guided_dip_mean", "restart_coupled"), "coupled": ("restart_coupled",)}
ADAPTED = {"adapted": ("adapted", "restart_adapted")}  # of denoising; no DIP, though fitted to the image like one
SOURCES = {**CHEAP, **DIP, **ADAPTED}
CHEAP_PARTS = tuple(itertools.chain(*CHEAP.values()))
PARTS = tuple(dict.fromkeys(itertools.chain(*SOURCES.values())))
HYBRIDS = (
    "restart_dip_short", "restart_dip", "restart_dip_mean", "guided_dip_mean", "coupled", "restart_coupled", "fused", "blend",
    "restart_blend", HYBRID,
)  # fmt: skip


def _learn_blend(parts: Sequence[str], past: dict[str, Estimate], clean: Tensor) -> dict:
    """Setting of `restorers.blended`: weights by validation images, and the blend's error as a share of the parts' own."""
    weights = fusion.learn_weights({name: past[name].x for name in parts}, clean)
    x, expected = (fusion.weighted_mean(weights, {name: getattr(past[name], of) for name in weights}) for of in ("x", "error"))
    share = float((rmse(x, clean).square().mean() / expected.square().mean()).sqrt())
    return {"weights": weights, "share": round(share, 4)}


# The start that suits an operator, beside y itself and a blur of it.
OWN_START = {BlockAverage: "bicubic", GaussianBlur: "pinv", Mask: "biharmonic"}


def interpolation(problem: Problem) -> Callable[..., Estimate]:
    """How to make the cheap start that suits the operator, or y itself where none does."""
    return CHEAP_STARTS[OWN_START.get(type(problem.seen.op), "input")].run


def cheap_starts(problem: Problem) -> list[str]:
    """Those of `CHEAP_STARTS` that make sense here and differ: y; its pseudo-inverse, bicubic or biharmonic; a blur of it."""
    own = OWN_START.get(type(problem.seen.op))
    return ["input", *([own] if own else []), "blurred"]
