"""The leak audit's protocols: as found they see the clean image, mended they do not."""

import pytest
import tiny
import torch

from dualprior.restoration.dip_methods import dip_stopped
from dualprior.restoration.leaky_protocols import PROTOCOLS, Given
from dualprior.restoration.problem import with_error

SETTINGS = tiny.params().audit


def given(clean) -> Given:
    problem = tiny.problem("sr4", 2)
    return Given(problem, with_error(dip_stopped(problem, {}), torch.tensor(0.2)), clean, SETTINGS)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("as_found", [True, False])
def test_the_clean_image_reaches_a_protocol_only_as_found_and_only_where_it_leaks(name, as_found):
    clean = tiny.images(2)
    with torch.no_grad():
        right, wrong = (PROTOCOLS[name].run(given(x), as_found) for x in (clean, -clean))
    same = torch.equal(right, wrong)
    assert same != (as_found and PROTOCOLS[name].leaks)


def test_half_the_noise_and_an_offset_is_not_the_noise_that_the_denoiser_is_told():
    clean = tiny.images(2)
    with torch.no_grad():
        found, mended = (PROTOCOLS["shifted_noise"].run(given(clean), as_found) for as_found in (True, False))
    assert (found - mended).abs().max() > 1e-3
