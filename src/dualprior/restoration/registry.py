"""The catalogue: the one place that knows methods. A new method is its procedure and one entry of `REGISTRY`.

Families: baseline (no prior worth the name), diffusion (the trained denoiser, its weights frozen), dip (an untrained network
fitted to the one measurement), hybrid (both), counterpart (what a hybrid is compared with). Order matters: a method may
build on those above it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

from torch import Tensor

from dualprior.common.params import Restore
from dualprior.degradation.operators import Operator
from dualprior.restoration import baselines, dip_methods, hybrid_methods
from dualprior.restoration import diffusion_methods as diffusion
from dualprior.restoration.blending import blended, learn_blend
from dualprior.restoration.problem import Problem, Restoration

Family = Literal["baseline", "diffusion", "dip", "hybrid", "counterpart"]
Fitted = Literal["trained", "random"]  # where the weights of a network fitted to the one measurement start
# Rounds map setting names to the values tried together; later rounds keep the best of earlier ones.
Rounds = list[dict[str, list]]
Settings = Callable[[Problem, Restore, Mapping[str, Restoration]], Rounds]


@dataclass(frozen=True)
class Method:
    family: Family
    label: str  # as shown to readers
    run: Callable[..., Restoration]  # run(problem, past, **setting)
    rounds: Settings = lambda problem, settings, past: [{}]  # the settings tried on validation images
    fitted: Fitted | None = None  # whether any network is fitted to the one measurement
    applies: Callable[[Operator, bool], bool] = lambda op, noisy: True  # the operators it is for
    few: bool = False  # too slow for more than the first images; nothing builds on it and nothing is tried
    blends: Callable[["Method"], bool] | None = None  # a blend: which of the methods above it may be its parts


def denoising(op: Operator, noisy: bool) -> bool:
    return not op.hides


def _noisy(op: Operator, noisy: bool) -> bool:
    return noisy


def _total_variation(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    return [{"weight": list(s.tv_weights)}]


def _non_local_means(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    return [{"strength": list(s.nlm_strengths)}]


def _one_step(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    if not problem.measured.op.hides:
        return [{"start": ["interpolation"], "level": [problem.measured.sigma_y]}]
    return [{"start": ["interpolation"], "level": sorted({*s.one_step_levels, *([problem.measured.sigma_y] if problem.noisy else [])})}]


def _chain(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    weights = list(s.ddpm.data_weights) if problem.noisy else [1.0]  # without noise the data are met exactly
    calls = list(s.ddpm.calls)
    first = {"zeta": list(s.ddpm.zetas), "data_weight": weights, "calls": calls[:1], "grid": ["schedule"]}
    return [first, {"grid": ["few_step"]}, {"calls": calls}]


def _mean_of_chains(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    own = past[CHAIN].setting
    fixed = {name: [own[name]] for name in ("calls", "grid", "data_weight")}
    return [{"zeta": list(dict.fromkeys((s.ddpm.mean_zeta, own["zeta"]))), **fixed, "samples": [s.ddpm.mean_of]}]


def _full_chain(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    calls = min(s.ddpm.full_calls, len(problem.levels))
    return [{"calls": [calls], "zeta": [s.ddpm.full_zeta], "data_weight": [past[CHAIN].setting["data_weight"]]}]


def _restart(starts: list[str] | None, problem: Problem, s: Restore, past: Mapping) -> Rounds:
    """Scales for every start first, then the calls."""
    start = {} if starts is None else {"start": starts}
    first = {**start, "start_scale": list(s.restart.start_scales), "calls": [s.restart.calls[-1]], "data_weight": [s.data_weight]}
    return [first, {"calls": list(s.restart.calls)}]


def _guided(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    fixed = {"calls": [s.guided.calls], "samples": [s.guided.samples], "data_weight": [s.data_weight]}
    return [{"start": [STOPPED], "gamma": list(s.guided.gammas), **fixed}]


def _gain_tuned(problem: Problem, s: Restore, past: Mapping) -> Rounds:
    return [{**each, "settings": [s.gain_tuning]} for each in _restart(None, problem, s, past)]


CHAIN, FULL_CHAIN, STOPPED, RESTART, CHEAP_RESTART = "ddpm", "ddpm_1000", "dip_stopped", "restart_dip", "restart_baseline"
HYBRID, FROZEN, NO_RANDOM_FIT = "hybrid", "blend_frozen", "blend_no_dip"
REGISTRY: dict[str, Method] = {
    "interpolation": Method("baseline", "y, A†y, bicubic or biharmonic", baselines.interpolation),
    "total_variation": Method("baseline", "total variation", baselines.total_variation, _total_variation),
    "non_local_means": Method("baseline", "non-local means", baselines.non_local_means, _non_local_means, applies=_noisy),
    "one_step": Method("diffusion", "one denoiser call", diffusion.one_step, _one_step),
    CHAIN: Method("diffusion", "DDPM, at most 100 calls", diffusion.chain, _chain),
    "ddpm_mean": Method("diffusion", "mean of DDPM chains", diffusion.mean_of_chains, _mean_of_chains),
    FULL_CHAIN: Method("diffusion", "DDPM, 1000 calls", diffusion.chain, _full_chain, few=True),
    CHEAP_RESTART: Method("diffusion", "restart, cheap start", diffusion.restarted, partial(_restart, ["interpolation", "one_step"])),
    STOPPED: Method("dip", "DIP, stopped", dip_methods.dip_stopped, fitted="random"),
    RESTART: Method("hybrid", "restart, DIP start", diffusion.restarted, partial(_restart, [STOPPED]), "random"),
    "guided_dip": Method("hybrid", "DDPM guided by the DIP", hybrid_methods.guided, _guided, "random"),
    "gain_tuning": Method("hybrid", "denoiser tuned to y", hybrid_methods.gain_tuned, _gain_tuned, "trained", denoising),
    FROZEN: Method("counterpart", "blend, nothing fitted", blended, blends=lambda part: part.fitted is None),
    NO_RANDOM_FIT: Method("counterpart", "blend without DIP", blended, fitted="trained", blends=lambda part: part.fitted != "random"),
    HYBRID: Method("hybrid", "hybrid: blend of all", blended, fitted="random", blends=lambda part: True),
}
REFERENCES = {"dip_last": "DIP, last step", "dip_oracle": "DIP, best step (sees the clean image)"}  # of the fits themselves


def methods_for(op: Operator, noisy: bool) -> dict[str, Method]:
    """Every method that is for this operator, in the order they run."""
    return {name: method for name, method in REGISTRY.items() if method.applies(op, noisy)}


def parts_of(blend: Method, methods: Mapping[str, Method]) -> list[str]:
    """What a blend may take: methods of the two priors that ran on every image, no other blend, and of these what it asks for.

    No baseline: what a blend gains is to be due to the two priors.
    """
    priors = [name for name, part in methods.items() if part.family != "baseline" and part.blends is None and not part.few]
    return [name for name in priors if blend.blends(methods[name])]


def learn(blend: Method, methods: Mapping[str, Method], past: Mapping[str, Restoration], clean: Tensor) -> dict:
    """The setting of a blend: weights by validation images."""
    return learn_blend({name: past[name] for name in parts_of(blend, methods)}, clean)
