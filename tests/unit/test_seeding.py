"""Named random streams: equal when the names are, apart when anything differs."""

import numpy as np
import pytest
import torch

from dualprior.seeding import derive_seed, generator, numpy_generator


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
