"""The denoiser fitted to one image: what it changes, what it leaves, and that it helps."""

import pytest
import tiny
import torch

from dualprior.common.seeding import ImageNoise
from dualprior.diffusion.gain_tuning import modulated, no_gains, tune_gains, with_gains
from dualprior.diffusion.unet import ResidualBlock

SIGMA = 0.3
SETTING = {"every": 2, "lr": 0.02, "alpha": 0.5}


def noisy(count: int):
    clean, names = tiny.images(count), [f"i{k}" for k in range(count)]
    return clean, clean + SIGMA * ImageNoise(3, "y", names)(clean), ImageNoise(0, "tune_gains", names)


def random_gains(network, count: int):
    torch.manual_seed(1)
    return [0.3 * torch.randn_like(gain) for gain in no_gains(network, count)]


def test_gains_of_zero_change_nothing():
    denoise, (_, y, _) = tiny.denoiser(), noisy(2)
    adapted = with_gains(denoise, no_gains(denoise.network, 2))
    torch.testing.assert_close(adapted(y, SIGMA), denoise(y, SIGMA), rtol=0, atol=0)


def test_gains_are_added_to_the_scale_and_shift_of_every_block():
    """Equal gains for all images can as well be written into the blocks' biases."""
    denoise, other, (_, y, _) = tiny.denoiser(), tiny.denoiser(), noisy(2)
    gains = [gain[:1].expand(2, -1) for gain in random_gains(denoise.network, 2)]
    blocks = [module for module in other.network.modules() if isinstance(module, ResidualBlock)]
    for block, gain in zip(blocks, gains, strict=True):
        block.condition.bias.add_(gain[0])
    torch.testing.assert_close(with_gains(denoise, gains)(y, SIGMA), other(y, SIGMA))


def test_every_image_passes_through_its_own_gains():
    denoise, (_, y, _) = tiny.denoiser(), noisy(3)
    gains = random_gains(denoise.network, 3)
    whole = with_gains(denoise, gains)(y, SIGMA)
    for i in range(3):
        alone = with_gains(denoise, [gain[i : i + 1] for gain in gains])(y[i : i + 1], SIGMA)
        torch.testing.assert_close(whole[i : i + 1], alone)


def test_the_network_is_what_it_was_afterwards_even_after_an_error():
    denoise, (_, y, _) = tiny.denoiser(), noisy(2)
    before = denoise(y, SIGMA)
    with pytest.raises(RuntimeError, match="halfway"), modulated(denoise.network, random_gains(denoise.network, 2)):
        raise RuntimeError("halfway")
    torch.testing.assert_close(denoise(y, SIGMA), before, rtol=0, atol=0)


def test_no_weight_of_the_network_is_moved():
    denoise, (_, y, noise) = tiny.denoiser().requires_grad_(True), noisy(2)
    before = {name: weight.detach().clone() for name, weight in denoise.network.named_parameters()}
    list(tune_gains(denoise, y, SIGMA, steps=3, noise=noise, **SETTING))
    for name, weight in denoise.network.named_parameters():
        torch.testing.assert_close(weight.detach(), before[name], rtol=0, atol=0)
        assert weight.grad is None


@pytest.mark.parametrize(("steps", "yielded"), [(1, [0, 1]), (4, [0, 2, 4]), (5, [0, 2, 4, 5])])
def test_the_state_is_shown_at_the_start_every_few_steps_and_at_the_end(steps, yielded):
    denoise, (_, y, noise) = tiny.denoiser(), noisy(1)
    shown = list(tune_gains(denoise, y, SIGMA, steps=steps, noise=noise, **SETTING))
    assert [state.step for state in shown] == yielded
    torch.testing.assert_close(shown[0].output, denoise(y, SIGMA))
    for state in shown:  # the gains shown are a copy, of that step
        torch.testing.assert_close(state.output, with_gains(denoise, state.gains)(y, SIGMA))


def test_a_fit_does_not_depend_on_its_batch_mates():
    denoise = tiny.denoiser()
    ends = []
    for count in (1, 3):
        _, y, noise = noisy(count)
        *_, end = tune_gains(denoise, y, SIGMA, steps=4, noise=noise, **SETTING)
        ends.append(end.output[:1])
    torch.testing.assert_close(*ends, rtol=1e-3, atol=1e-4)


def test_a_poor_denoiser_gets_better_without_a_clean_image():
    denoise, (clean, y, noise) = tiny.denoiser(), noisy(3)
    *_, end = tune_gains(denoise, y, SIGMA, steps=60, noise=noise, **SETTING)

    def error(x):
        return (x - clean).square().mean((1, 2, 3))

    assert (error(end.output) < 0.8 * error(denoise(y, SIGMA))).all()
