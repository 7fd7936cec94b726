"""The catalogue: complete, runnable on every operator, fair in what it tries."""

import math
from dataclasses import replace
from typing import get_args

import pytest
import tiny
import torch

from dualprior.common.params import Source
from dualprior.evaluation.comparisons import CONTROLS
from dualprior.pipeline.restore import choose
from dualprior.restoration.problem import Restoration, first
from dualprior.restoration.registry import CHEAP_PARTS, DDPM_ALONE, PARTS, SOURCES, Method, catalogue

PARAMS = tiny.params()
CLEAN = tiny.images(2)
TASKS = ("denoise25", "sr4", "inpaint_random", "inpaint_box", "deblur")
ALWAYS = {
    "input", "one_step", "ddpm_1000", "ddpm_best", "ddpm_mean", "dip_last", "dip_stopped", "restart_cheap", "restart_cheap_mean",
    "guided_cheap_mean", "fused_cheap", "blend_cheap", "restart_blend_cheap", "finished_cheap", "restart_dip", "restart_dip_mean",
    "guided_dip_mean", "restart_blend",
    "coupled", "restart_coupled", "fused", "blend", "hybrid",
}  # fmt: skip


def worse(estimate) -> float:
    """Minus the mean PSNR in dB, up to a constant."""
    return float(10 * torch.log10((estimate.x.clamp(-1, 1) - CLEAN).square().mean((1, 2, 3))).mean())


def methods(problem):
    return catalogue(problem, PARAMS.restore, PARAMS.hybrid, tiny.COUPLED)


@pytest.fixture(scope="module")
def finished():
    """Every method of every task, chosen and run as stage restore does, all images known: {task: {method: estimate}}."""
    done = {}
    for task in TASKS:
        val, past = tiny.problem(task, 2), {}
        for name, method in methods(val).items():
            if method.few:
                past[name] = choose(method, first(val, 1), past, CLEAN[:1])
                continue
            best = choose(method, val, past, CLEAN)
            error = best.error if best.error is not None else (best.x - CLEAN).square().mean().sqrt().expand(2)
            past[name] = replace(best, error=error)
        done[task] = past
    return done


@pytest.mark.parametrize("task", TASKS)
def test_every_method_gives_finite_images_of_the_right_size(finished, task):
    assert finished[task].keys() == methods(tiny.problem(task, 2)).keys()
    for name, estimate in finished[task].items():
        assert estimate.x.shape == (1 if name == "ddpm_1000" else 2, 3, tiny.SIDE, tiny.SIDE), name
        assert torch.isfinite(estimate.x).all(), name
        assert estimate.cost.seconds >= 0, name


@pytest.mark.parametrize(
    ("task", "own"),
    [
        ("denoise25", set()), ("sr4", {"bicubic"}), ("inpaint_random", {"biharmonic"}), ("inpaint_box", {"biharmonic"}),
        ("deblur", {"pinv"}),
    ],
)
def test_every_named_baseline_is_there(task, own):
    names = set(methods(tiny.problem(task, 2)))
    assert names >= ALWAYS | own
    assert names & {"bicubic", "biharmonic", "pinv"} == own


@pytest.mark.parametrize("task", TASKS)
def test_the_hybrid_mixes_the_blend_and_its_restart_by_weights_of_sum_1(finished, task):
    """The restart has one of the settings tried."""
    past, tried = finished[task], PARAMS.hybrid
    assert set(past["hybrid"].setting["weights"]) <= {"blend", "restart_blend"}
    assert sum(past["hybrid"].setting["weights"].values()) == pytest.approx(1)
    restart = dict(past["restart_blend"].setting)
    assert restart.pop("inflation") in tried.inflations
    assert restart == {"start": "blend", "scale": tried.start_scale, "calls": tried.calls, "data_weight": tried.data_weight}


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_is_on_validation_images_no_worse_than_its_best_part(finished, task):
    """Up to the rounding of its weights."""
    past = finished[task]
    for blend, parts in (("blend_cheap", CHEAP_PARTS), ("blend", PARTS)):
        best = min(worse(past[part]) for part in parts if part in past)
        assert worse(past[blend]) <= best + 0.05
        assert set(past[blend].setting["weights"]) <= set(parts)


@pytest.mark.parametrize("task", TASKS)
def test_a_blend_expects_the_error_it_has_on_validation_images(finished, task):
    blend = finished[task]["blend"]
    measured = (blend.x.clamp(-1, 1) - CLEAN).square().mean().sqrt()
    torch.testing.assert_close(blend.error.square().mean().sqrt(), measured, rtol=1e-3, atol=0)


def test_no_control_without_dip_builds_on_a_fit(finished):
    """By what they cost."""
    for task, past in finished.items():
        for name in set(CONTROLS) & set(past):
            assert past[name].cost.iterations == 0, (task, name)


def test_the_sources_that_can_be_left_out_are_those_of_the_blend():
    assert get_args(Source) == ("nothing", *SOURCES)


def test_only_denoising_adapts_the_denoiser(finished):
    assert {task for task, past in finished.items() if "adapted" in past} == {"denoise25"}


def test_a_fusion_is_never_worse_on_validation_images_than_either_part(finished):
    """Weights 0 and 1 are among those tried."""
    for task, past in finished.items():
        for part in ("dip_stopped", *DDPM_ALONE):
            assert worse(past["fused"]) <= worse(past[part]) + 1e-5, (task, part)


def test_cheap_starts_compete_with_the_dip_on_no_fewer_settings():
    listed = methods(tiny.problem("sr4", 2))
    for cheap, dip in (("restart_cheap", "restart_dip"), ("restart_cheap_mean", "restart_dip_mean")):
        tried, own = (listed[name].rounds[0] for name in (cheap, dip))
        assert tried["start"] == ["input", "bicubic", "blurred", "one_step"]
        for name in set(own) - {"start"}:
            assert set(own[name]) <= set(tried[name]), (cheap, name)
    *_, last = listed["guided_cheap_mean"].rounds
    assert last["gamma"] == listed["guided_dip_mean"].rounds[0]["gamma"] == list(PARAMS.hybrid.gammas)


def test_a_dip_start_is_tuned_over_as_much_as_a_cheap_one():
    listed = methods(tiny.problem("sr4", 2))
    assert listed["restart_dip"].rounds[1:] == listed["restart_cheap"].rounds[1:] != []


def test_a_full_chain_is_tuned_and_no_longer_than_the_schedule():
    problem, full = tiny.problem("denoise25", 1), PARAMS.restore.full.model_copy(update={"calls": 1000})
    settings = PARAMS.restore.model_copy(update={"full": full})
    first_round, second = catalogue(problem, settings, PARAMS.hybrid, tiny.COUPLED)["ddpm_1000"].rounds
    assert first_round["calls"] == [len(problem.levels)]
    assert first_round["zeta"] == list(PARAMS.restore.full.zetas)
    assert second["data_weight"] == list(PARAMS.restore.ddpm.data_weights)


def test_denoising_takes_its_own_noise_level_in_one_step():
    problem = tiny.problem("denoise25", 2)
    assert methods(problem)["one_step"].rounds == [{"start": ["input"], "level": [problem.measured.sigma_y]}]


def test_without_noise_no_data_weight_is_tried():
    for task, tried in (("sr4", [1.0]), ("deblur", list(PARAMS.restore.ddpm.data_weights))):
        assert methods(tiny.problem(task, 2))["ddpm_best"].rounds[0]["data_weight"] == tried


@pytest.mark.parametrize("task", TASKS)
def test_the_stopping_rule_spares_the_search_for_a_step(task):
    assert methods(tiny.problem(task, 2))["dip_stopped"].rounds == [{}]


def test_a_choice_is_the_best_of_all_tried_round_after_round():
    """A made-up method of two settings whose error is known for each."""
    clean, tried = torch.zeros(2, 3, 4, 4), []
    errors = {(1, 5): 0.3, (2, 5): 0.2, (2, 6): 0.1, (2, 7): 0.4}

    def run(problem, past, a, b):
        tried.append((a, b))
        return problem(torch.full_like(clean, errors[a, b]))

    best = choose(Method("made up", run, [{"a": [1, 2], "b": [5]}, {"b": [5, 6, 7]}]), Restoration, {}, clean)
    assert tried == [(1, 5), (2, 5), (2, 6), (2, 7)]
    assert best.setting == {"a": 2, "b": 6}
    assert math.isclose(float(best.x.mean()), 0.1, rel_tol=1e-6)
