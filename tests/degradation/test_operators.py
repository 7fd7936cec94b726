"""Named degradations, masks, and what the operators do to simple images."""

import pytest
import torch

from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from dualprior.degradation.operators import OPERATORS, BlockAverage, BoxMask, GaussianBlur, Identity, Mask, RandomMask, draw_random

SHAPE = (16, 24)


def random_mask(size, keep, rng):
    return RandomMask.draw(RandomMask.Settings(keep=keep), size, rng)["mask"]


def box_mask(size, box, rng):
    return BoxMask.draw(BoxMask.Settings(box=box), size, rng)["mask"]


def rng(*ids):
    return generator(0, "test", *ids)


@pytest.mark.parametrize("kind", OPERATORS)
def test_every_kind_is_drawn_and_built_for_several_images(kind):
    halved = {"physics": "Downsampling", "size": SHAPE, "arguments": {"img_size": (3, *SHAPE), "factor": 2, "filter": None}}
    settings = {"block_average": {"factor": 4}, "random_mask": {"keep": 0.2}, "box_mask": {"box": 5}, "gaussian_blur": {"blur_std": 1.6}}
    settings["deepinv"] = halved
    own = OPERATORS[kind].Settings(**settings.get(kind, {}))
    random = draw_random(kind, own, SHAPE, [rng(i) for i in range(3)])
    op = OPERATORS[kind].build(own, SHAPE, random)
    x = torch.rand(3, 3, *SHAPE, generator=rng("x"))
    y = op.A(x)
    assert OPERATORS[kind].image_size(own, tuple(y.shape[-2:])) == SHAPE
    assert op.cheap_start(y).shape == x.shape
    assert op.hides == (kind != "identity")
    assert (op.measured is None) == ("mask" not in kind)


def test_a_factor_that_does_not_divide_the_image_is_refused():
    with pytest.raises(UserError, match="factor=5 does not divide an image of 16 x 24 pixels"):
        BlockAverage.build(BlockAverage.Settings(factor=5), SHAPE, {})


@pytest.mark.parametrize("op", [Identity(), BlockAverage(4), GaussianBlur(1.6, SHAPE), Mask(torch.ones(4000, 1, *SHAPE).tril())])
def test_the_noise_gain_is_that_of_drawn_noise(op):
    w = torch.randn(op.A(torch.zeros(4000, 1, *SHAPE)).shape, generator=rng("w"))
    expected = op.A_dagger(w).square().mean().item()
    assert float(torch.as_tensor(op.noise_gain(w)).mean()) == pytest.approx(expected, rel=0.02)


def test_a_biharmonic_start_continues_a_ramp_exactly_and_keeps_known_pixels():
    """A ramp solves the biharmonic equation."""
    mask = torch.ones(2, 1, 16, 16)
    mask[:, :, 5:10, 4:11] = 0
    ramp = torch.linspace(-0.8, 0.8, 16).expand(2, 3, 16, 16)
    x = Mask(mask).cheap_start(mask * ramp)
    torch.testing.assert_close(x, ramp, rtol=0, atol=1e-3)
    torch.testing.assert_close(mask * x, mask * ramp, rtol=0, atol=1e-6)


def test_only_a_blur_is_fitted_after_back_projection():
    """Of the others every singular value that is not 0 is the same, so both residuals agree up to a factor."""
    y = torch.rand(1, 3, *SHAPE, generator=rng("y"))
    blur = GaussianBlur(1.6, SHAPE)
    op, target = blur.fit_target(y)
    torch.testing.assert_close(target, blur.A_dagger(y))
    torch.testing.assert_close(op.A(y), blur.A_dagger(blur.A(y)))
    for plain in (Identity(), Mask(torch.ones(1, 1, *SHAPE)), BlockAverage(4)):
        assert plain.fit_target(y) == (plain, y)


def test_block_average_of_a_ramp():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert BlockAverage(2).A(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]


def test_blur_keeps_the_mean_and_spreads_a_point_by_its_standard_deviation():
    x = torch.zeros(1, 1, 32, 32, dtype=torch.float64)
    x[..., 16, 16] = 1.0
    y = GaussianBlur(1.6, (32, 32)).A(x)
    offset = torch.arange(32.0) - 16
    assert y.sum() == pytest.approx(1.0)
    assert (y.sum((0, 1, 3)) * offset**2).sum() == pytest.approx(1.6**2, rel=1e-4)


def test_blur_wraps_around_the_borders():
    op, x = GaussianBlur(2.0, SHAPE), torch.randn(1, 3, *SHAPE, dtype=torch.float64, generator=rng("x"))
    shifted = torch.roll(x, (5, -7), (-2, -1))
    torch.testing.assert_close(op.A(shifted), torch.roll(op.A(x), (5, -7), (-2, -1)))


def test_a_blur_wider_than_the_image_leaves_its_mean():
    x = torch.randn(1, 3, *SHAPE, dtype=torch.float64, generator=rng("x"))
    torch.testing.assert_close(GaussianBlur(200.0, SHAPE).A(x), x.mean((-2, -1), keepdim=True).expand_as(x))


def test_blur_inverse_amplifies_noise_at_most_five_times():
    op, y = GaussianBlur(1.6, SHAPE), torch.randn(4, 3, *SHAPE, generator=rng("y"))
    assert op.A_dagger(y).norm() <= 5 * y.norm()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
@pytest.mark.parametrize("op", [Identity(), Mask(torch.ones(2, 1, *SHAPE)), BlockAverage(4), GaussianBlur(1.6, SHAPE)])
def test_operators_keep_the_float_type(op, dtype):
    x = torch.zeros(2, 3, *SHAPE, dtype=dtype)
    y = op.A(x)
    assert {t.dtype for t in (y, op.A_adjoint(y), op.A_dagger(y), op.prox(x, y, 0.5), op.prox(x, y, 0))} == {dtype}


def test_indexing_takes_the_masks_of_those_images():
    masks = torch.cat([random_mask(SHAPE, 0.3, rng(i)) for i in range(4)])
    assert torch.equal(Mask(masks)[[2, 0]].mask, masks[[2, 0]])
    assert torch.equal(Mask(masks)[1:3].mask, masks[1:3])
    op = BlockAverage(4)
    assert op[1:3] is op


def test_operators_cannot_be_changed():
    with pytest.raises(AttributeError):
        Mask(torch.ones(1, 1, 2, 2)).mask = torch.zeros(1, 1, 2, 2)


@pytest.mark.parametrize(("keep", "known"), [(0.2, 77), (0.5, 192), (1e-6, 1)])
def test_random_mask_knows_exactly_the_share_asked_for(keep, known):
    mask = random_mask(SHAPE, keep, rng())
    assert mask.shape == (1, 1, *SHAPE)
    assert mask.sum() == known


def test_box_mask_hides_one_square_inside_and_reaches_every_border():
    rows, columns = set(), set()
    for i in range(300):
        hidden = (box_mask(SHAPE, 12, rng(i))[0, 0] == 0).nonzero()
        (top, left), (bottom, right) = hidden.amin(0).tolist(), hidden.amax(0).tolist()
        assert (len(hidden), bottom - top, right - left) == (144, 11, 11)
        rows.add(top)
        columns.add(left)
    assert (rows, columns) == (set(range(5)), set(range(13)))


@pytest.mark.parametrize("box", [16, 20])
def test_a_box_that_leaves_no_border_is_refused(box):
    with pytest.raises(UserError, match=f"box={box} does not fit inside an image of 16 x 24 pixels"):
        box_mask(SHAPE, box, rng())
