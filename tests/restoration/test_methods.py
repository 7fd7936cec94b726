"""The procedures behind the methods: independence of images, honest costs, refusals."""

from dataclasses import replace

import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.common.params import GainTuning
from dualprior.degradation.operators import Mask
from dualprior.diffusion import schedule
from dualprior.restoration import baselines, dip_methods, hybrid_methods
from dualprior.restoration import diffusion_methods as diffusion
from dualprior.restoration.problem import Restoration
from studies.theory.gaussian_theory import gaussian_denoiser

TASKS = ("denoise25", "sr4", "inpaint_random", "inpaint_box", "deblur")
CHAIN = {"calls": 3, "zeta": 0.3, "data_weight": 1.0}
RESTART = {"start": "dip", "start_scale": 1.5, "calls": 2, "data_weight": 1.0}
TUNING = GainTuning(steps=6, check_every=2, patience=4, lr=0.02, alpha=0.5)
ONCE = {"start_scale": 1.0, "calls": 1, "data_weight": 1.0}


def dip_start(problem) -> Restoration:
    """A start with an error of its own for every image."""
    error = torch.tensor([0.2 + 0.1 * i for i in range(len(problem.measured.names))])
    return Restoration(problem.fits.snapshots[1], 3.0, dip_passes=8, error=error)


PROCEDURES = {
    "interpolation": lambda p: baselines.interpolation(p, {}),
    "total_variation": lambda p: baselines.total_variation(p, {}, 0.1),
    "one_step": lambda p: diffusion.one_step(p, {"y": baselines.interpolation(p, {})}, "y", 0.3),
    "chain": lambda p: diffusion.chain(p, {}, **CHAIN),
    "ancestral": lambda p: diffusion.chain(p, {}, 5, None, 1.0),
    "mean_of_chains": lambda p: diffusion.mean_of_chains(p, {}, samples=2, **CHAIN),
    "dip_at": lambda p: dip_methods.dip_at(p, {}, 4),
    "restarted": lambda p: diffusion.restarted(p, {"dip": dip_start(p)}, **RESTART),
    "guided": lambda p: hybrid_methods.guided(p, {"dip": dip_start(p)}, "dip", 3, 1.0, 0.5, samples=2),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", PROCEDURES)
def test_an_image_does_not_depend_on_its_batch_mates(name, task):
    whole = tiny.problem(task, 3)
    few = PROCEDURES[name](whole.first(2))
    torch.testing.assert_close(few.x, PROCEDURES[name](whole).x[:2], rtol=2e-3, atol=2e-3)


def test_the_first_images_of_a_problem_are_a_problem_of_those_images():
    whole, two = tiny.problem("inpaint_random", 3).first(2), tiny.problem("inpaint_random", 2)
    for name in ("snapshots", "stopped"):
        torch.testing.assert_close(getattr(whole.fits, name), getattr(two.fits, name), rtol=0, atol=0)
    assert (whole.fits.stop_step, whole.fits.decided_step, whole.fits.error) == (two.fits.stop_step, two.fits.decided_step, None)
    assert whole.measured.names == two.measured.names
    torch.testing.assert_close(whole.measured.op.mask, two.measured.op.mask, rtol=0, atol=0)
    torch.testing.assert_close(tiny.problem("denoise25", 3).first(2).fits.error, tiny.problem("denoise25", 2).fits.error)


# --- cost --------------------------------------------------------------------------------------------------

CALLS = {"one_step": 1, "chain": 3, "ancestral": 5, "mean_of_chains": 6, "restarted": 2, "guided": 6, "dip_at": 0, "interpolation": 0}


@pytest.mark.parametrize(("name", "calls"), CALLS.items())
def test_network_calls_are_counted_as_they_are_made(name, calls):
    denoise = tiny.Counting(tiny.denoiser())
    done = PROCEDURES[name](tiny.problem("sr4", 2, denoise))
    assert done.cost.nfe == denoise.calls == calls
    assert set(denoise.batches) <= {2}  # one call serves every image


def test_what_two_parts_share_is_paid_for_once():
    x = torch.zeros(2, 1, 1, 1)
    shared = Restoration(x, 4.0, 8, 3)
    left, right = (Restoration(x, seconds, 1).after(shared) for seconds in (1.0, 2.0))
    cost = Restoration(x, 0.5).after(left, right, shared).cost
    assert (cost.seconds, cost.nfe, cost.dip_passes) == (7.5, 10, 3)


def test_a_restart_pays_for_its_start():
    cost = PROCEDURES["restarted"](tiny.problem("sr4", 2)).cost
    assert cost.seconds > 3.0
    assert cost.dip_passes == 8


def test_a_fixed_step_costs_its_steps_and_a_stopped_fit_all_until_it_was_decided():
    problem = tiny.problem("denoise25", 2)  # 0.5 s a step of both networks; decided at steps 5 and 6
    fixed, stopped = dip_methods.dip_at(problem, {}, 8), dip_methods.dip_stopped(problem, {})
    assert (fixed.seconds, fixed.dip_passes) == (4.0, 16)
    assert (stopped.seconds, stopped.dip_passes) == (0.5 * 5.5, 11)
    assert stopped.x is problem.fits.stopped
    assert stopped.error is problem.fits.error


# --- what they compute -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one_step", "chain", "ancestral", "restarted", "total_variation"])
@pytest.mark.parametrize("task", ["sr4", "inpaint_random", "inpaint_box"])
def test_noiseless_measurements_are_met(name, task):
    problem = tiny.problem(task, 2)
    x = PROCEDURES[name](problem).x
    torch.testing.assert_close(problem.measured.op.A(x), problem.measured.y, rtol=0, atol=1e-4)


@pytest.mark.parametrize("method", [lambda p: baselines.total_variation(p, {}, 0.1), lambda p: baselines.non_local_means(p, {}, 0.8)])
def test_classical_denoisers_take_most_of_the_noise_away(method):
    problem, clean = tiny.problem("denoise25", 3), tiny.images(3)
    before, after = ((x - clean).square().mean((1, 2, 3)) for x in (problem.measured.y, method(problem).x))
    assert (after < before / 2).all()


def test_ancestral_noise_keeps_the_variance_of_gaussian_data():
    """Where the data say nothing (no pixel is known), the end is a sample of the prior."""
    problem = tiny.problem("inpaint_random", 4, gaussian_denoiser(0.0, 0.01))
    measured = problem.measured._replace(op=Mask(torch.zeros(4, 1, 64, 64)), y=torch.zeros(4, 3, 64, 64), size=(64, 64))
    levels = schedule.noise_levels("lognormal", 300)
    x = diffusion.chain(replace(problem, measured=measured, levels=levels), {}, 300, None, 1.0).x
    assert x.var().item() == pytest.approx(0.01, rel=0.05)  # of images well inside [-1, 1], which guesses are clipped to


def test_no_guess_of_a_chain_leaves_the_range_of_images():
    """A network of gain 3 would run away."""
    problem = tiny.problem("denoise25", 2, lambda x, sigma: 3 * x)
    assert diffusion.chain(problem, {}, 10, 1.0, 1.0).x.abs().max() < 3


def test_one_denoising_call_is_the_denoiser_and_no_more():
    problem = tiny.problem("denoise25", 2)
    done = diffusion.one_step(problem, {"y": baselines.interpolation(problem, {})}, "y", problem.measured.sigma_y)
    torch.testing.assert_close(done.x, problem.denoise(problem.measured.y, problem.measured.sigma_y), rtol=0, atol=0)


def test_a_mean_of_chains_is_the_mean_of_different_chains():
    problem = tiny.problem("sr4", 1)
    runs = [diffusion.chain(problem, {}, purpose=f"mean-{k}", **CHAIN).x for k in range(3)]
    assert (runs[0] - runs[1]).abs().max() > 1e-3
    torch.testing.assert_close(diffusion.mean_of_chains(problem, {}, samples=3, **CHAIN).x, sum(runs) / 3)


def test_every_image_restarts_at_its_own_level_with_nothing_added():
    given = []
    problem = replace(tiny.problem("denoise25", 3), denoise=lambda x, sigma: given.append((x, sigma)) or x)
    begin = dip_start(problem)
    diffusion.restarted(problem, {"dip": begin}, "dip", start_scale=2.0, calls=1, data_weight=1.0)
    torch.testing.assert_close(given[0][0], begin.x)
    torch.testing.assert_close(given[0][1].float().flatten(), torch.tensor([0.4, 0.6, 0.8]))


def test_a_start_level_stays_within_the_levels_of_the_schedule():
    problem = tiny.problem("sr4", 2)
    begin = dip_start(problem)
    assert diffusion.start_level(problem, begin, 1e5).tolist() == pytest.approx([problem.levels[-1]] * 2)
    assert diffusion.start_level(problem, begin, 1e-5).tolist() == pytest.approx([problem.levels[0]] * 2)


def test_a_level_that_one_call_was_never_trained_at_is_refused_under_the_name_of_its_parameter():
    problem = tiny.problem("sr4", 2)
    with pytest.raises(UserError, match="restore.one_step_levels starts at noise level 50, outside the schedule's range"):
        diffusion.one_step(problem, {"y": baselines.interpolation(problem, {})}, "y", 50.0)


# --- gain tuning -------------------------------------------------------------------------------------------


def test_a_tuned_image_does_not_depend_on_its_batch_mates():
    whole = tiny.problem("denoise50", 3)
    few, three = (hybrid_methods.tuned_denoiser(problem, TUNING) for problem in (whole.first(2), whole))
    torch.testing.assert_close(few.x, three.x[:2], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(few.error, three.error[:2], rtol=2e-3, atol=2e-3)


def test_a_tuned_denoiser_gives_the_image_that_is_kept_and_goes_on_with_the_restart():
    problem = tiny.problem("denoise50", 2)
    kept = hybrid_methods.tuned_denoiser(problem, TUNING)
    torch.testing.assert_close(kept.denoise(problem.measured.y, problem.measured.sigma_y), kept.x)
    own = hybrid_methods.gain_tuned(problem, {}, **ONCE, settings=TUNING)
    plain = diffusion.restarted(problem, {"kept": replace(kept, denoise=None)}, "kept", **ONCE)
    assert (own.x - plain.x).abs().max() > 1e-3


def test_gain_tuning_counts_its_calls_as_they_are_made():
    """Forward passes of a batch of 2n count twice an image, backward passes through frozen weights as much again."""
    problem, made = tiny.problem("denoise50", 2), []
    hook = problem.denoise.network.register_forward_hook(lambda *_: made.append(torch.is_grad_enabled()))
    with torch.no_grad():
        kept = hybrid_methods.tuned_denoiser(problem, TUNING.model_copy(update={"patience": 100}))  # never decided: all is paid for
    hook.remove()
    trained, looked = sum(made), len(made) - sum(made) - 1  # the last call is for the image that is kept
    assert trained == TUNING.steps
    assert kept.cost.nfe == 2 * (2 * trained + looked) + 1


def test_gain_tuning_that_only_harms_is_stopped_before_its_first_step():
    """A learning rate this large wrecks whatever is tuned."""
    problem = tiny.problem("denoise50", 2)
    wild = hybrid_methods.tuned_denoiser(problem, TUNING.model_copy(update={"lr": 50.0}))
    torch.testing.assert_close(wild.x, problem.denoise(problem.measured.y, problem.measured.sigma_y))


def test_gain_tuning_lowers_the_error_of_a_poor_denoiser_and_knows_it():
    problem, clean = tiny.problem("denoise50", 3), tiny.images(3)
    kept = hybrid_methods.tuned_denoiser(problem, TUNING.model_copy(update={"steps": 60, "check_every": 10, "patience": 60}))
    error = (kept.x - clean).square().mean((1, 2, 3)).sqrt()
    before = (problem.denoise(problem.measured.y, problem.measured.sigma_y) - clean).square().mean((1, 2, 3)).sqrt()
    assert (error < 0.95 * before).all()
    torch.testing.assert_close(kept.error, error, rtol=0.35, atol=0)
