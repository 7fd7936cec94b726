"""The procedures behind the methods: independence of images, honest costs, refusals."""

from dataclasses import replace

import pytest
import tiny
import torch
from studies.theory.gaussian_theory import gaussian_denoiser

from dualprior.common.errors import UserError
from dualprior.common.params import GainTuning
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.operators import Mask
from dualprior.dip import fit as dip
from dualprior.restoration import baselines, hybrid_methods
from dualprior.restoration import diffusion_methods as r
from dualprior.restoration.problem import Restoration, first

TASKS = ("denoise25", "sr4", "inpaint_random", "inpaint_box", "deblur")
CHAIN = {"calls": 3, "zeta": 0.3, "data_weight": 1.0}
RESTART = {"start": "dip", "inflation": 1.0, "scale": 1.5, "calls": 2, "data_weight": 1.0}
INTERLEAVED = {"steps": 5, "refit": 2, "inflation": 1.0, "scale": 1.0, "calls": 2, "data_weight": 1.0}


def dip_start(problem) -> Restoration:
    """A start with an error of its own for every image."""
    error = torch.tensor([0.2 + 0.1 * i for i in range(len(problem.measured.names))])
    return Restoration(problem.fits.snapshots[1], 3.0, iterations=4, error=error)


PROCEDURES = {
    "as_image": lambda p: baselines.as_image(p, {}),
    "blurred": lambda p: baselines.blurred(p, {}, 1.0),
    "one_step": lambda p: r.one_step(p, {"input": baselines.as_image(p, {})}, "input", 0.3),
    "chain": lambda p: r.chain(p, {}, **CHAIN),
    "ancestral": lambda p: r.chain(p, {}, 5, None, 1.0),
    "mean_of_chains": lambda p: r.mean_of_chains(p, {}, samples=2, **CHAIN),
    "dip_at": lambda p: r.dip_at(p, {}, 4),
    "restarted": lambda p: r.restarted(p, {"dip": dip_start(p)}, **RESTART),
    "coupled": lambda p: hybrid_methods.coupled(p, {}, 9, tiny.COUPLED),
    "interleaved": lambda p: hybrid_methods.interleaved(p, tiny.COUPLED, 0.5, **INTERLEAVED),
    "mean_of_guided": lambda p: r.mean_of_guided(p, {"dip": dip_start(p)}, "dip", 3, 1.0, 0.5, samples=2),
    "mean_of_restarts": lambda p: r.mean_of_restarts(p, {"dip": dip_start(p)}, **RESTART, samples=3),
}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", PROCEDURES)
def test_an_image_does_not_depend_on_its_batch_mates(name, task):
    denoise = tiny.denoiser()
    whole = tiny.problem(task, 3, denoise)
    few = PROCEDURES[name](first(whole, 2))
    torch.testing.assert_close(few.x, PROCEDURES[name](whole).x[:2], rtol=2e-3, atol=2e-3)


def test_the_first_images_of_a_problem_are_a_problem_of_those_images():
    whole, two = first(tiny.problem("inpaint_random", 3), 2), tiny.problem("inpaint_random", 2)
    for name in ("snapshots", "stopped"):
        torch.testing.assert_close(getattr(whole.fits, name), getattr(two.fits, name), rtol=0, atol=0)
    assert whole.fits.stop_step == two.fits.stop_step
    assert whole.fits.decided_step == two.fits.decided_step
    assert whole.fits.error is None
    assert whole.measured.names == two.measured.names
    torch.testing.assert_close(whole.measured.op.mask, two.measured.op.mask, rtol=0, atol=0)


def test_the_first_images_keep_the_error_estimated_for_them():
    whole, two = first(tiny.problem("denoise25", 3), 2), tiny.problem("denoise25", 2)
    torch.testing.assert_close(whole.fits.error, two.fits.error, rtol=0, atol=0)


# --- cost --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("one_step", 1),
        ("chain", 3),
        ("ancestral", 5),
        ("mean_of_chains", 6),
        ("restarted", 2),
        ("mean_of_restarts", 6),
        ("mean_of_guided", 6),
        ("dip_at", 0),
        ("blurred", 0),
    ],
)
def test_network_calls_are_counted_as_they_are_made(name, calls):
    denoise = tiny.Counting(tiny.denoiser())
    estimate = PROCEDURES[name](tiny.problem("sr4", 2, denoise))
    assert estimate.cost.nfe == denoise.calls == calls
    assert set(denoise.batches) <= {2}  # one call serves every image


@pytest.mark.parametrize("refresh", [1, 2, 3, 4, 20])
def test_network_calls_of_a_coupled_fit_are_counted_up_to_the_step_shown(refresh):
    """The first target is made at step 2, when there is an average; later ones every `refresh` steps."""
    denoise = tiny.Counting(tiny.denoiser())
    problem, settings = tiny.problem("sr4", 2, denoise), replace(tiny.COUPLED, refresh=refresh)
    for step in hybrid_methods.coupled_steps(settings):
        made = [s for s in range(2, step + 1) if s == 2 or s % refresh == 0]
        assert hybrid_methods.coupled(problem, {}, step, settings).nfe == len(made)
    assert denoise.calls == len(made)  # the fit ran once for all of its steps


def test_costs_of_what_an_estimate_builds_on_are_added():
    x = torch.zeros(2, 1, 1, 1)
    total = Restoration(x, 1.0, 2, 5).after(Restoration(x, 0.5, 10), Restoration(x, 0.25, 100, [1, 2])).cost
    assert (total.seconds, total.nfe, total.iterations) == (1.75, 112, [6, 7])


@pytest.mark.parametrize(("own", "earlier", "total"), [(0, [0, 0], 0), (0, [7, 0], 7), (0, [[1, 2], 0], [1, 2]), (3, [4, 0], [7, 7])])
def test_iterations_of_two_images_are_added(own, earlier, total):
    x = torch.zeros(2, 1, 1, 1)
    assert Restoration(x, iterations=own).after(*(Restoration(x, iterations=count) for count in earlier)).cost.iterations == total


def test_what_two_parts_share_is_paid_for_once():
    x = torch.zeros(2, 1, 1, 1)
    shared = Restoration(x, 4.0, 8, 3)
    left, right = (Restoration(x, seconds, 1).after(shared) for seconds in (1.0, 2.0))
    cost = Restoration(x, 0.5).after(left, right, shared).cost
    assert (cost.seconds, cost.nfe, cost.iterations) == (7.5, 10, 3)


def test_restarts_of_one_start_pay_for_it_once():
    problem = tiny.problem("sr4", 2)
    past = {"dip": dip_start(problem)}
    parts = [r.restarted(problem, past, **RESTART | {"inflation": by}) for by in (1.0, 2.0)]
    blend = Restoration(past["dip"].x).after(past["dip"], *parts, r.mean_of_restarts(problem, past, **RESTART, samples=2))
    assert blend.cost.iterations == past["dip"].iterations
    assert blend.cost.nfe == 2 + 2 + 2 * 2
    assert blend.cost.seconds >= past["dip"].seconds
    assert blend.cost.seconds < 2 * past["dip"].seconds


def test_a_restart_pays_for_its_start():
    problem = tiny.problem("sr4", 2)
    estimate = PROCEDURES["restarted"](problem)
    assert estimate.cost.seconds > 3.0
    assert estimate.cost.iterations == 4


def test_a_fixed_step_costs_its_steps_and_a_stopped_fit_all_until_it_was_decided():
    problem = tiny.problem("denoise25", 2)  # 0.5 s a step; stopped at steps 3 and 4, decided at 5 and 6
    assert r.dip_at(problem, {}, 8).seconds == 4.0
    assert r.dip_stopped(problem, {}).seconds == 0.5 * 5.5


@pytest.mark.parametrize("task", ["denoise25", "sr4"])
def test_a_stopped_fit_shows_the_image_the_step_and_the_error_of_the_rule(task):
    problem = tiny.problem(task, 2)
    stopped = r.dip_stopped(problem, {})
    assert stopped.iterations == [3, 4]
    assert stopped.x is problem.fits.stopped
    assert stopped.error is problem.fits.error


def test_a_fixed_step_shows_that_snapshot():
    problem = tiny.problem("sr4", 2)
    torch.testing.assert_close(r.dip_at(problem, {}, 4).x, problem.fits.snapshots[1], rtol=0, atol=0)


# --- what they compute -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["one_step", "chain", "ancestral", "restarted"])
@pytest.mark.parametrize("task", ["sr4", "inpaint_random", "inpaint_box"])
def test_noiseless_measurements_are_met(name, task):
    problem = tiny.problem(task, 2)
    x = PROCEDURES[name](problem).x
    torch.testing.assert_close(problem.measured.op.A(x), problem.measured.y, rtol=0, atol=1e-4)


def test_ancestral_noise_keeps_the_variance_of_gaussian_data():
    """Where the data say nothing (no pixel is known), the end is a sample of the prior."""
    problem = tiny.problem("inpaint_random", 4, gaussian_denoiser(0.0, 0.25))
    measured = problem.measured._replace(op=type(problem.measured.op)(torch.zeros(4, 1, 64, 64)), y=torch.zeros(4, 3, 64, 64), size=(64, 64))
    levels = r.schedule.noise_levels("lognormal", 300)
    x = r.chain(replace(problem, seen=measured, levels=levels), {}, 300, None, 1.0).x
    assert x.var().item() == pytest.approx(0.25, rel=0.05)


def test_one_denoising_call_is_the_denoiser_and_no_more():
    problem = tiny.problem("denoise25", 2)
    estimate = r.one_step(problem, {"input": baselines.as_image(problem, {})}, "input", problem.measured.sigma_y)
    torch.testing.assert_close(estimate.x, problem.denoise(problem.measured.y, problem.measured.sigma_y), rtol=0, atol=0)


def test_a_mean_of_chains_is_the_mean_of_different_chains():
    problem = tiny.problem("sr4", 1)
    runs = [r.chain(problem, {}, purpose=f"mean-{k}", **CHAIN).x for k in range(3)]
    assert (runs[0] - runs[1]).abs().max() > 1e-3
    torch.testing.assert_close(r.mean_of_chains(problem, {}, samples=3, **CHAIN).x, sum(runs) / 3)


@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_fusion_is_the_weighted_mean(weight):
    problem = tiny.problem("sr4", 2)
    past = {"a": Restoration(torch.full((2, 3, 4, 4), 1.0), nfe=1), "b": Restoration(torch.full((2, 3, 4, 4), 2.0), nfe=5)}
    estimate = r.fused(problem, past, "a", "b", weight)
    torch.testing.assert_close(estimate.x, torch.full((2, 3, 4, 4), weight + 2 * (1 - weight)))
    assert estimate.cost.nfe == 6


def test_a_blend_is_the_weighted_mean_and_so_is_what_it_expects():
    x, e = torch.ones(2, 3, 4, 4), torch.tensor([0.1, 0.3])
    past = {"a": Restoration(x, error=e), "b": Restoration(3 * x, error=2 * e)}
    blend = r.blended(tiny.problem("sr4", 2), past, {"a": 0.25, "b": 0.75}, share=0.5)
    torch.testing.assert_close(blend.x, 2.5 * x)
    torch.testing.assert_close(blend.error, 0.5 * 1.75 * e)
    assert blend.denoise is None


def test_a_mean_of_restarts_is_the_mean_of_different_restarts():
    problem = tiny.problem("sr4", 2)
    past = {"dip": dip_start(problem)}
    level = r.start_level(problem, past["dip"], RESTART["scale"])
    runs = [r.restart_at(problem, past["dip"], level, 2, 1.0, r.OWN, zeta=1.0, purpose=f"restart-dip-{k}").x for k in range(3)]
    assert (runs[0] - runs[1]).abs().max() > 1e-3
    torch.testing.assert_close(r.mean_of_restarts(problem, past, **RESTART, samples=3).x, sum(runs) / 3)


# --- the denoiser fitted to the measurement ------------------------------------------------------------------

ADAPT = GainTuning(steps=6, every=2, patience=4, lr=0.02, alpha=0.5, split_alpha=0.5)


def test_an_adapted_image_does_not_depend_on_its_batch_mates():
    whole = tiny.problem("denoise50", 3)
    few, all_three = (r.adapted(problem, {}, ADAPT) for problem in (first(whole, 2), whole))
    torch.testing.assert_close(few.x, all_three.x[:2], rtol=2e-3, atol=2e-3)
    torch.testing.assert_close(few.error, all_three.error[:2], rtol=2e-3, atol=2e-3)


def test_an_adapted_denoiser_gives_the_image_that_is_kept_and_goes_on_with_the_restart():
    problem = tiny.problem("denoise50", 2)
    kept = r.adapted(problem, {}, ADAPT)
    torch.testing.assert_close(kept.denoise(problem.measured.y, problem.measured.sigma_y), kept.x)
    setting = {"inflation": 1.0, "scale": 1.0, "calls": 2, "data_weight": 1.0}
    own = r.restarted(problem, {"adapted": kept}, "adapted", **setting)
    plain = r.restarted(problem, {"adapted": replace(kept, denoise=None)}, "adapted", **setting)
    assert own.denoise is kept.denoise
    assert (own.x - plain.x).abs().max() > 1e-3
    by_hand = r.restarted(replace(problem, denoise=kept.denoise), {"adapted": replace(kept, denoise=None)}, "adapted", **setting)
    torch.testing.assert_close(own.x, by_hand.x)


def test_an_adaptation_counts_its_calls_as_they_are_made():
    """Forward passes of a batch of 2n count paired_index an image, backward passes through frozen weights as much again."""
    problem, made = tiny.problem("denoise50", 2), []
    hook = problem.denoise.network.register_forward_hook(lambda *_: made.append(torch.is_grad_enabled()))
    with torch.no_grad():
        kept = r.adapted(problem, {}, ADAPT.model_copy(update={"patience": 100}))  # never decided: all of it is paid for
    hook.remove()
    trained, looked = sum(made), len(made) - sum(made) - 1  # the last call is for the image that is kept
    assert trained == ADAPT.steps
    assert kept.cost.nfe == 2 * (2 * trained + looked) + 1


def test_an_adaptation_that_only_harms_is_stopped_before_its_first_step():
    """A learning rate this large wrecks whatever is adapted."""
    problem = tiny.problem("denoise50", 2)
    wild = r.adapted(problem, {}, ADAPT.model_copy(update={"lr": 50.0}))
    torch.testing.assert_close(wild.x, problem.denoise(problem.measured.y, problem.measured.sigma_y))


def test_an_adaptation_lowers_the_error_of_a_poor_denoiser_and_knows_it():
    problem, clean = tiny.problem("denoise50", 3), tiny.images(3)
    kept = r.adapted(problem, {}, ADAPT.model_copy(update={"steps": 60, "every": 10, "patience": 60}))
    error = (kept.x - clean).square().mean((1, 2, 3)).sqrt()
    before = (problem.denoise(problem.measured.y, problem.measured.sigma_y) - clean).square().mean((1, 2, 3)).sqrt()
    assert (error < 0.95 * before).all()
    torch.testing.assert_close(kept.error, error, rtol=0.35, atol=0)


def test_filling_holes_keeps_known_pixels_and_reaches_every_hole():
    problem = tiny.problem("inpaint_box", 2)
    x, y = baselines.blurred(problem, {}, 0.5).x, problem.measured.y
    mask = problem.measured.op.mask
    torch.testing.assert_close(mask * x, y, rtol=0, atol=0)
    constant = replace(problem, seen=problem.measured._replace(y=0.7 * mask.expand_as(y)))
    torch.testing.assert_close(baselines.blurred(constant, {}, 0.5).x, torch.full_like(y, 0.7), rtol=1e-4, atol=0)


def test_the_biharmonic_start_continues_a_ramp_exactly_and_keeps_known_pixels():
    """A ramp solves the biharmonic equation."""
    problem = tiny.problem("inpaint_box", 2)
    y = problem.measured.y
    mask = torch.ones(2, 1, *y.shape[-2:])
    mask[:, :, 5:10, 4:11] = 0
    ramp = torch.linspace(-0.8, 0.8, y.shape[-1]).expand_as(y)
    measured = problem.measured._replace(op=Mask(mask), y=mask * ramp)
    x = baselines.biharmonic(replace(problem, seen=measured), {}).x
    torch.testing.assert_close(x, ramp, rtol=0, atol=1e-3)
    torch.testing.assert_close(mask * x, mask * ramp, rtol=0, atol=1e-6)


def test_an_inflated_start_is_restarted_from_higher_up_with_nothing_added():
    problem = tiny.problem("denoise25", 2)
    begin, measured = dip_start(problem), []
    problem = replace(problem, denoise=lambda x, sigma: measured.append((x, sigma)) or x)
    r.restarted(problem, {"dip": begin}, "dip", inflation=3.0, scale=1.0, calls=1, data_weight=1.0)
    torch.testing.assert_close(seen[0][0], begin.x)
    torch.testing.assert_close(seen[0][1].float().flatten(), 3.0 * begin.error)


def test_a_fit_that_guesses_pass_by_is_a_restart_of_that_fit():
    problem = tiny.problem("sr4", 2)
    past_by = hybrid_methods.interleaved(problem, tiny.COUPLED, 0.0, **INTERLEAVED)
    assert past_by.cost.iterations == 5 + 2 * 2
    with torch.no_grad():
        *_, done = dip.fit_images(tiny.RECIPE, problem.measured.op, problem.measured.y, problem.measured.names, problem.measured.size, 5, device="cpu")
    error = torch.full((2,), tiny.COUPLED.error_at(5))
    begin = Restoration(project_on_exact_data(problem.measured.op, done.average, problem.measured.y, 0.0), error=error)
    torch.testing.assert_close(past_by.x, r.restart_at(problem, begin, error, 2, 1.0, r.OWN).x, rtol=1e-4, atol=1e-4)
    through = hybrid_methods.interleaved(problem, tiny.COUPLED, 1.0, **INTERLEAVED).x
    assert (through - past_by.x).abs().max() > 1e-2


def test_every_image_restarts_at_its_own_level():
    denoise = tiny.Counting(tiny.denoiser())
    problem = tiny.problem("sr4", 3, denoise)
    r.restarted(problem, {"dip": dip_start(problem)}, "dip", inflation=1.0, scale=2.0, calls=2, data_weight=1.0)
    torch.testing.assert_close(denoise.levels[0], torch.tensor([0.4, 0.6, 0.8]))


def test_a_restart_at_its_own_error_adds_no_noise():
    """The first call sees the start itself."""
    problem = tiny.problem("denoise25", 2)
    begin, measured = dip_start(problem), []
    problem = replace(problem, denoise=lambda x, sigma: measured.append(x) or x)
    r.restart_at(problem, begin, begin.error, 1, 1.0, "hybrid.start_scale")
    torch.testing.assert_close(seen[0], begin.x)


def test_a_start_level_above_the_schedule_is_refused():
    problem = tiny.problem("sr4", 2)
    with pytest.raises(UserError, match="hybrid.start_scale starts at noise level 2e.04, outside the schedule's range"):
        r.restarted(problem, {"dip": dip_start(problem)}, **RESTART | {"scale": 1e5})


def test_one_start_level_below_the_schedule_is_refused_under_the_name_of_its_parameter():
    problem = tiny.problem("sr4", 2)
    with pytest.raises(UserError, match="ablate.start_level starts at noise level 0.001, outside the schedule's range"):
        r.restart_at(problem, dip_start(problem), torch.tensor([0.4, 0.001]), 1, 1.0, "ablate.start_level")


def test_more_calls_than_the_schedule_has_levels_are_refused():
    with pytest.raises(UserError, match="21 network calls do not fit a schedule of 20 noise levels"):
        r.chain(tiny.problem("sr4", 1), {}, **CHAIN | {"calls": 21})


def test_a_coupled_fit_follows_the_expected_error_down():
    """Levels are read off the plain fit's errors between its snapshots: 0.5 at step 2, 0.3 at step 9."""
    denoise = tiny.Counting(tiny.denoiser())
    hybrid_methods.coupled(tiny.problem("sr4", 2, denoise), {}, 9, tiny.COUPLED)
    assert denoise.levels == pytest.approx([0.5, 0.5 - 0.2 * 2 / 7, 0.5 - 0.2 * 6 / 7])
