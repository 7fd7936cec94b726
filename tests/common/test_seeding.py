"""Named random streams: equal when the names are, apart when anything differs."""

import numpy as np
import pytest
import torch

from dualprior.common.seeding import ImageNoise, derive_seed, generator, numpy_generator


def test_seed_is_the_same_on_every_machine():
    assert derive_seed(0, "degrade", "sr4", "test_china_03") == 7787973173908904310


@pytest.mark.parametrize(
    "other",
    [(1, "degrade", "a", "bc"), (0, "prepare", "a", "bc"), (0, "degrade", "ab", "c"), (0, "degrade", "a"), (0, "degrade", "a", "bc", 0)],
)
def test_streams_with_other_names_differ(other):
    assert derive_seed(*other) != derive_seed(0, "degrade", "a", "bc")


def test_number_and_text_ids_differ():
    assert derive_seed(0, "degrade", 1) != derive_seed(0, "degrade", "1")


def test_numpy_integers_count_as_integers():
    assert derive_seed(0, "degrade", np.int64(1)) == derive_seed(0, "degrade", 1)


def test_generators_repeat_and_do_not_touch_the_global_stream():
    before = torch.get_rng_state()
    first = torch.randn(5, generator=generator(0, "fit_dip", 3))
    assert torch.equal(first, torch.randn(5, generator=generator(0, "fit_dip", 3)))
    assert torch.equal(before, torch.get_rng_state())
    assert (numpy_generator(0, "prepare").random(5) == numpy_generator(0, "prepare").random(5)).all()


def test_noise_of_an_image_goes_on_from_call_to_call():
    noise = ImageNoise(0, "t", ["a", "b", "c"])
    first, second = noise(torch.zeros(3, 3, 8, 8)), noise(torch.zeros(3, 3, 8, 8))
    assert (first != second).any()
    torch.testing.assert_close(ImageNoise(0, "t", ["b"])(torch.zeros(1, 3, 8, 8)), first[1:2], rtol=0, atol=0)


def test_noise_is_unit_and_differs_between_images_purposes_and_seeds():
    like = torch.zeros(1, 1, 300, 300)
    draws = [ImageNoise(seed, stage, [name])(like) for seed, stage, name in ((0, "t", "a"), (0, "t", "b"), (0, "u", "a"), (1, "t", "a"))]
    correlation = torch.corrcoef(torch.cat(draws).flatten(1))
    assert (correlation - torch.eye(4)).abs().max() < 0.02
    assert draws[0].std().item() == pytest.approx(1, rel=0.01)
