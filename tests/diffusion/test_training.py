"""DDPM training: schedules of the step, the averaged weights, augmentation, resuming."""

import copy
import math

import numpy as np
import pytest
import tiny
import torch
from torch import nn

from dualprior.common.errors import UserError
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.training import TrainState, augment, check_finite, denoising_loss, ema_decay, lr_factor, train
from dualprior.diffusion.unet import UNet

LEVELS = np.array([0.1, 0.3, 1.0, 3.0])
SETTINGS = {
    "steps": 8, "batch_size": 4, "lr": 1e-3, "lr_decay": "cosine", "warmup_steps": 2, "grad_clip": 1.0, "ema": 0.999, "seed": 0,
}  # fmt: skip


def patches(count=16):
    return ((tiny.images(count, 8) + 1) * 127.5).round().to(torch.uint8)


def fresh(prediction="v") -> TrainState:
    return TrainState.fresh(Denoiser(tiny.unet(), prediction), 1e-3)


def weights(denoiser) -> torch.Tensor:
    return torch.cat([w.detach().flatten() for w in denoiser.parameters()])


def advance(state, count, **changes):
    steps = train(state, patches(), LEVELS, **SETTINGS | changes)
    return [next(steps) for _ in range(count)]


def test_training_in_bfloat16_follows_that_in_float32():
    """Emulated where the processor has none, so this runs everywhere."""
    exact, rounded = (TrainState.fresh(Denoiser(tiny.unet(), "v", autocast), 1e-3) for autocast in (None, torch.bfloat16))
    losses = [[float(step.loss) for step in advance(state, 3)] for state in (exact, rounded)]
    assert losses[0] != losses[1]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert weights(rounded.denoiser).dtype == torch.float32


@pytest.mark.parametrize(
    ("step", "decay", "factor"),
    [
        (0, "none", 0.1),
        (4, "none", 0.5),
        (9, "none", 1.0),
        (50, "none", 1.0),
        (50, "linear", 0.5),
        (50, "cosine", 0.5),
        (75, "linear", 0.25),
        (75, "cosine", 0.5 - 0.5 / math.sqrt(2)),
        (100, "linear", 0.0),
        (100, "cosine", 0.0),
    ],
)
def test_learning_rate_at_known_points(step, decay, factor):
    assert lr_factor(step, steps=100, warmup=10, decay=decay) == pytest.approx(factor, abs=1e-12)


def test_without_warm_up_the_first_step_is_a_full_one():
    assert lr_factor(0, steps=100, warmup=0, decay="cosine") == 1


@pytest.mark.parametrize(("step", "decay"), [(0, 0.1), (8, 0.5), (89, 90 / 99), (100_000, 0.999)])
def test_average_decays_faster_at_first(step, decay):
    assert ema_decay(step, 0.999) == pytest.approx(decay)


def test_averaged_weights_are_the_average_written_out():
    state = fresh()
    expected = weights(state.denoiser)
    steps = train(state, patches(), LEVELS, **SETTINGS)
    for decay in (1 / 10, 2 / 11, 3 / 12, 4 / 13):
        next(steps)
        expected = decay * expected + (1 - decay) * weights(state.denoiser)
    torch.testing.assert_close(weights(state.averaged), expected)


def test_average_soon_forgets_the_random_start():
    """Two averages of the same run from different starts are as far apart as the share of the start that is left."""
    state, other = fresh(), fresh()
    with torch.no_grad():
        for weight in other.averaged.parameters():
            weight += 1
    advance(state, 6)
    advance(other, 6)
    left = math.prod((1 + k) / (10 + k) for k in range(6))
    apart = weights(other.averaged) - weights(state.averaged)
    torch.testing.assert_close(apart, torch.full_like(apart, left), rtol=0, atol=1e-6)
    assert left < 1e-3


def test_augmentation_gives_the_eight_turned_and_mirrored_versions_and_no_other():
    image = torch.arange(48.0).view(3, 4, 4)
    plain = image.numpy()
    dihedral = {np.rot90(p, k, axes=(1, 2)).tobytes() for p in (plain, plain[:, ::-1]) for k in range(4)}
    out = augment(image.expand(200, 3, 4, 4), torch.Generator().manual_seed(0))
    assert {x.numpy().tobytes() for x in out} == dihedral
    assert len(dihedral) == 8


def test_loss_of_a_network_that_says_zero_is_the_variance_of_the_noise():
    rng = torch.Generator().manual_seed(0)
    denoiser = Denoiser(UNet(**tiny.NETWORK), "eps")  # a fresh network says zero
    loss = denoising_loss(denoiser, tiny.images(4, 64), torch.tensor([0.1, 0.5, 1.0, 5.0]), torch.randn(4, 3, 64, 64, generator=rng))
    assert loss.item() == pytest.approx(1, rel=0.02)


def test_loss_of_the_exact_target_is_zero():
    x0, eps, sigma = tiny.images(2), torch.randn(2, 3, tiny.SIDE, tiny.SIDE), torch.tensor([0.3, 2.0])
    denoiser = Denoiser(tiny.unet(), "v")
    target = denoiser.target(x0, x0 + sigma.view(-1, 1, 1, 1) * eps, sigma)
    denoiser.raw = lambda scaled, level, cond: target
    assert denoising_loss(denoiser, x0, sigma, eps) == 0


def test_a_resumed_run_is_the_uninterrupted_one():
    whole = fresh()
    losses = [step.loss for step in advance(whole, 8)]
    first = fresh()
    advance(first, 3)
    saved = copy.deepcopy(first.state_dict())
    advance(first, 2)  # what is done after the last checkpoint is lost
    second = fresh()
    second.load_state_dict(saved)
    assert second.step == 3
    assert [step.loss for step in advance(second, 5)] == losses[3:]
    for a, b in ((whole.denoiser, second.denoiser), (whole.averaged, second.averaged)):
        torch.testing.assert_close(weights(a), weights(b), rtol=0, atol=0)


def test_a_finished_run_has_no_more_steps():
    state = fresh()
    assert [step.step for step in advance(state, 8)] == list(range(1, 9))
    assert list(train(state, patches(), LEVELS, **SETTINGS)) == []


def test_training_does_not_touch_the_global_random_state():
    state, before = fresh(), torch.get_rng_state()
    advance(state, 2)
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)


@pytest.mark.parametrize("prediction", ["eps", "x0", "v"])
def test_training_lowers_the_loss_of_the_averaged_weights(prediction):
    """Judged before and after on the same noise."""
    torch.manual_seed(0)  # the network's first weights
    state = TrainState.fresh(Denoiser(UNet(**tiny.NETWORK), prediction), 1e-2)
    x0, sigma = tiny.images(16, 8), torch.tensor([0.1, 0.3, 1.0, 3.0]).repeat(4)
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    before = denoising_loss(state.averaged, x0, sigma, eps).item()
    advance(state, 60, steps=60, lr=1e-2, lr_decay="none", batch_size=16)
    assert denoising_loss(state.averaged, x0, sigma, eps).item() < 0.7 * before


def test_the_learning_rate_reported_is_the_one_used():
    state = fresh()
    done = advance(state, 1)[0]
    assert done.lr == state.optimizer.param_groups[0]["lr"] == pytest.approx(0.5e-3)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_diverged_loss_is_refused(loss):
    with pytest.raises(UserError, match=f"the training loss is {loss} at step 7; lower ddpm.training.lr .now 0.5"):
        check_finite(loss, 7, 0.5)


def test_too_high_a_learning_rate_ends_in_that_refusal():
    steps = train(fresh(), patches(), LEVELS, **SETTINGS | {"lr": 1e30, "warmup_steps": 0})
    with pytest.raises(UserError, match="lower ddpm.training.lr"):
        _ = [check_finite(float(step.loss), step.step, step.lr) for step in steps]


def test_a_condition_is_turned_with_its_patch():
    class Seen(nn.Module):
        declared, divisor, pairs = {"image": 3}, 1, []

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(()))

        def forward(self, x, log_sigma, image):
            self.pairs.append((x.detach() * (1 + log_sigma.exp() ** 2).sqrt().view(-1, 1, 1, 1), image))
            return self.weight * x

    state = TrainState.fresh(Denoiser(Seen(), "x0"), 1e-3)
    list(train(state, patches(), np.array([1e-4]), images=255 - patches(), **SETTINGS))
    assert len(Seen.pairs) == SETTINGS["steps"]
    for x, image in Seen.pairs:
        torch.testing.assert_close(image, -x, atol=2e-3, rtol=0)
