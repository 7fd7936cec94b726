"""The operators against deepinv's. Its prox_l2(z, y, gamma) minimises gamma/2 ‖Ax - y‖² + 1/2 ‖x - z‖², so rho = 1/gamma."""

import pytest
import torch

from dualprior.common.seeding import generator
from dualprior.degradation.operators import BlockAverage, GaussianBlur, Mask, RandomMask

physics = pytest.importorskip("deepinv.physics")

SIZE, FACTOR = (16, 24), 4
X = torch.randn(2, 3, *SIZE, dtype=torch.float64, generator=generator(0, "x"))
MASK = RandomMask.draw(RandomMask.Settings(keep=0.3), SIZE, generator(0, "mask"))["mask"].double()
BLUR = GaussianBlur(1.6, SIZE)


def blur_kernel():
    """The kernel of BLUR with its centre in the middle, [1,1,H,W]: its response to a point at H//2, W//2."""
    point = torch.zeros(1, 1, *SIZE, dtype=torch.float64)
    point[..., SIZE[0] // 2, SIZE[1] // 2] = 1.0
    return BLUR.A(point)


def block_average():
    """Block averages as deepinv sees them: an unpadded box filter, then every FACTOR-th pixel."""
    box = torch.full((1, 1, FACTOR, FACTOR), 1.0 / FACTOR**2, dtype=torch.float64)
    return physics.Downsampling(img_size=(3, *SIZE), filter=box, factor=FACTOR, padding="valid")


PAIRS = {
    "mask": lambda: (Mask(MASK), physics.Inpainting(img_size=(3, *SIZE), mask=MASK)),
    "block_average": lambda: (BlockAverage(FACTOR), block_average()),
    "blur": lambda: (BLUR, physics.BlurFFT(img_size=(3, *SIZE), filter=blur_kernel())),
}


@pytest.fixture(params=PAIRS)
def pair(request):
    return PAIRS[request.param]()


def test_A_agrees(pair):
    ours, theirs = pair
    torch.testing.assert_close(ours.A(X), theirs.A(X))


def test_A_adjoint_agrees(pair):
    ours, theirs = pair
    y = ours.A(X)
    torch.testing.assert_close(ours.A_adjoint(y), theirs.A_adjoint(y))


@pytest.mark.parametrize("rho", [0.1, 1.0, 10.0])
def test_prox_agrees(pair, rho):
    ours, theirs = pair
    y, x0 = ours.A(X), X.flip(-1)
    options = {} if isinstance(ours, Mask | GaussianBlur) else {"use_fft": False}  # else deepinv solves by iterations
    torch.testing.assert_close(ours.prox(x0, y, rho), theirs.prox_l2(x0, y, 1 / rho, **options), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["mask", "block_average"])
def test_A_dagger_agrees(name):
    """Not for the blur: deepinv inverts down to 1e-5, ours stops at its cut-off."""
    ours, theirs = PAIRS[name]()
    y = ours.A(X)
    torch.testing.assert_close(ours.A_dagger(y), theirs.A_dagger(y), atol=1e-4, rtol=1e-4)
