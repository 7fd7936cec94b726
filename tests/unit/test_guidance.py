"""Extra terms in the loss of a Deep Image Prior."""

import math

import pytest
import tiny
import torch
from studies.stopping import regularisers as guidance

from dualprior.common.seeding import ImageNoise, generator

LEVEL = 0.3


def noise(count):
    return ImageNoise(0, "guidance", [f"image{i}" for i in range(count)])


def squared(error):
    return error.square().mean((1, 2, 3))


def test_no_term_adds_nothing():
    assert guidance.none(3, tiny.images(2), None).tolist() == [0.0, 0.0]


# --- the denoiser's pull -----------------------------------------------------------------------------------


def test_the_pull_begins_with_an_average_to_denoise():
    denoise = tiny.Counting(tiny.denoiser())
    extra = guidance.denoiser_pull(denoise, 2.0, LEVEL, refresh=1)
    assert extra(1, tiny.images(2), None).tolist() == [0.0, 0.0]
    assert denoise.calls == 0


@pytest.mark.parametrize(("refresh", "steps"), [(1, [2, 3, 4, 5, 6, 7, 8, 9]), (3, [2, 3, 6, 9]), (4, [2, 4, 8]), (99, [2])])
def test_the_pulls_target_is_refreshed_at_the_set_steps(refresh, steps):
    denoise, x, made = tiny.Counting(tiny.denoiser()), tiny.images(2), []
    extra = guidance.denoiser_pull(denoise, 2.0, LEVEL, refresh)
    for step in range(1, 10):
        before = denoise.calls
        extra(step, x, x if step > 1 else None)
        made += [step] * (denoise.calls - before)
    assert made == steps
    assert set(denoise.levels) == {LEVEL}


def test_the_pull_is_the_weighted_distance_to_what_the_denoiser_makes_of_the_average():
    x, denoise = tiny.images(2), tiny.denoiser()
    average, target = x + 0.1, denoise(x + 0.1, LEVEL)
    torch.testing.assert_close(guidance.denoiser_pull(denoise, 2.0, LEVEL, 1)(2, x, average), 2 * squared(x - target))


@pytest.mark.parametrize("data_consistency", [None, lambda x0: 0.5 * x0])
def test_the_pull_is_nothing_at_its_target(data_consistency):
    x, denoise = tiny.images(2), tiny.denoiser()
    target = denoise(x, LEVEL) if data_consistency is None else data_consistency(denoise(x, LEVEL))
    assert guidance.denoiser_pull(denoise, 2.0, LEVEL, 1, data_consistency)(2, target, x).abs().max() < 1e-12


def test_the_pull_moves_the_output_towards_its_target_alone():
    x, average = tiny.images(2).requires_grad_(), tiny.images(2).requires_grad_()
    guidance.denoiser_pull(lambda image, level: 0.5 * image, 2.0, LEVEL, 1)(2, x, average).sum().backward()
    torch.testing.assert_close(x.grad, 4 * (x - 0.5 * average).detach() / x[0].numel())
    assert average.grad is None


# --- features ----------------------------------------------------------------------------------------------


def test_the_encoder_has_one_tensor_of_features_a_level():
    shapes = [tuple(layer.shape) for layer in guidance.encoder_features(tiny.denoiser())(tiny.images(2), LEVEL)]
    assert shapes == [(2, 8, 8, 8), (2, 16, 4, 4)]  # 16 pixels folded by 2, then halved


def test_the_encoders_features_are_those_the_denoiser_computes_on_its_way_down():
    denoiser, passed = tiny.denoiser(multipliers=(1, 2, 2), blocks=2), []
    for blocks in denoiser.network.down:
        blocks[-1].register_forward_hook(lambda block, given, out: passed.append(out))
    denoiser(tiny.images(2), LEVEL)
    wanted, passed[:] = list(passed), []
    found = guidance.encoder_features(denoiser)(tiny.images(2), LEVEL)
    assert len(found) == len(wanted) == 3
    for layer, expected in zip(found, wanted, strict=True):
        torch.testing.assert_close(layer, expected)


def test_the_perceptual_term_is_nothing_for_a_fit_that_noised_is_the_measurement():
    y, features = tiny.images(2), guidance.encoder_features(tiny.denoiser())
    extra = guidance.perceptual(features, y, 2.0, LEVEL, noise(2))
    assert extra(1, y - LEVEL * noise(2)(y), None).abs().max() < 1e-9
    assert extra(1, y, None).min() > 1e-4


def test_the_perceptual_term_is_a_mean_of_relative_distances_of_features():
    """With the image and its double for features, both are |f + level eps - y|^2 / |y|^2."""
    y, f = tiny.images(2), tiny.images(2).flip(0)
    extra = guidance.perceptual(lambda x, level: [x, 2 * x], y, 3.0, LEVEL, noise(2))
    torch.testing.assert_close(extra(1, f, None), 3 * squared(f + LEVEL * noise(2)(y) - y) / squared(y))


def test_the_perceptual_terms_gradient_reaches_the_fit_of_that_image_alone():
    y, f = tiny.images(2), tiny.images(2).flip(0).requires_grad_()
    guidance.perceptual(guidance.encoder_features(tiny.denoiser()), y, 2.0, LEVEL, noise(2))(1, f, None)[0].backward()
    assert f.grad[0].abs().max() > 0
    assert f.grad[1].abs().max() == 0


# --- the adversary -----------------------------------------------------------------------------------------


def adversary(y, weight=1.0, level=0.0, **changes):
    rngs = [generator(0, "adversary", i) for i in range(len(y))]
    return guidance.PatchAdversary(y, weight, level, rngs, generator(0, "adversary-noise"), **changes)


def play(extra, output, steps):
    """The term after so many steps at an output that stays as it is."""
    for step in range(1, steps + 1):
        term = extra(step, output, None)
    return term


def test_no_image_of_the_adversary_depends_on_its_batch_mates():
    y, f = tiny.images(3), tiny.images(3).flip(0)
    whole, few = (play(adversary(y[:n], level=LEVEL), f[:n], 10) for n in (3, 1))
    torch.testing.assert_close(few, whole[:1], rtol=1e-4, atol=1e-5)


def test_an_adversary_learns_to_tell_an_obviously_different_image():
    """-log D(f) grows far above log 2, what a coin gives."""
    y = tiny.images(2)
    extra = adversary(y, lr=1e-2)
    assert (play(extra, y + 0.8, 60) > 2 * math.log(2)).all()


def test_an_adversary_cannot_tell_an_image_from_itself():
    y = tiny.images(2)
    assert play(adversary(y, lr=1e-2), y, 60).tolist() == pytest.approx([math.log(2)] * 2, abs=0.05)


def test_an_adversary_cannot_tell_a_clean_image_at_the_level_of_its_noisy_measurement():
    x = tiny.images(2, 32)
    y = x + LEVEL * noise(2)(x)
    known, unknown = (play(adversary(y, level=level, lr=1e-2), x, 60) for level in (LEVEL, 0.0))
    assert (known < 2 * math.log(2)).all()
    assert (unknown > 4 * math.log(2)).all()


def test_the_adversarys_gradient_reaches_the_fit_of_that_image_alone_and_follows_its_weight():
    y, grads = tiny.images(2), []
    for weight in (1.0, 3.0):
        f = tiny.images(2).flip(0).requires_grad_()
        adversary(y, weight)(1, f, None)[0].backward()
        assert f.grad[0].abs().max() > 0
        assert f.grad[1].abs().max() == 0
        grads.append(f.grad)
    torch.testing.assert_close(grads[1], 3 * grads[0])


def test_the_fits_step_leaves_the_adversarys_gradients_alone():
    """What is sent back through the term is for the fit; the discriminator has taken its own step by then."""
    extra, f = adversary(tiny.images(2)), tiny.images(2).flip(0).requires_grad_()
    for step in (1, 2):
        extra(step, f, None).sum().backward()
        assert all(weight.requires_grad and weight.grad is None for weight in extra._layers.parameters())


def test_the_adversary_looks_at_patches_of_seven_pixels():
    y, f = tiny.images(1), tiny.images(1).flip(3).requires_grad_()
    extra = adversary(y)
    extra._logits(f)[0, 0, 8, 8].backward()
    rows, columns = f.grad[0].abs().sum(0).nonzero().T
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (5, 11, 5, 11)
