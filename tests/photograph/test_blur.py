"""Blur with a frame beyond which nothing is measured: its operator, its kernels, its estimate."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from scipy.signal import convolve2d

from dualprior.common.errors import UserError
from dualprior.data.crops import shipped_photographs
from dualprior.photograph.blur import Convolution, estimated_std, from_file, gaussian, kernel_of, motion

KERNEL = torch.rand(5, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
OP = Convolution(KERNEL / KERNEL.sum(), (9, 10))


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_it_is_scipys_convolution_where_all_of_the_kernel_is_inside():
    x = draw(1, 3, *OP.full_size)
    expected = convolve2d(x[0, 1], OP.kernel, mode="valid")[:9, :10]
    np.testing.assert_allclose(OP.A(x)[0, 1], expected, atol=1e-12)


def test_the_adjoint_and_the_prox_agree_with_matrices():
    size = OP.full_size
    unit = torch.eye(size[0] * size[1], dtype=torch.float64).view(-1, 1, *size)
    matrix = OP.A(unit).flatten(1).T
    x0, y = draw(1, 1, *size), draw(1, 1, 9, 10)
    torch.testing.assert_close(OP.A_adjoint(y).flatten(), matrix.T @ y.flatten())
    for rho in (0.05, 1.0):
        expected = torch.linalg.solve(matrix.T @ matrix + rho * torch.eye(len(unit)), matrix.T @ y.flatten() + rho * x0.flatten())
        torch.testing.assert_close(OP.prox(x0, y, rho).flatten(), expected, atol=1e-2, rtol=0)
    gain = torch.linalg.solve(matrix.T @ matrix + 0.04 * torch.eye(len(unit)), matrix.T)
    assert OP.noise_gain(y) == pytest.approx(float(gain[:, 4 * 10 + 5].square().sum()) * 90 / 256, rel=0.05)


def test_the_frame_is_where_the_measurement_lies():
    even = Convolution(torch.tensor([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]], dtype=torch.float64), (9, 10))
    x = draw(1, 1, *even.full_size)
    torch.testing.assert_close(even.inside(x), even.A(x))
    assert OP.full_size == (16, 16)


def test_kernels_keep_the_light_and_have_their_shape():
    for kernel in (gaussian(1.6), motion(9, 30), motion(65, 90)):
        assert float(kernel.sum()) == pytest.approx(1)
        assert kernel.shape[0] == kernel.shape[1]
        assert len(kernel) % 2 == 1
    place = torch.arange(11) - 5.0
    assert float((gaussian(1.6).sum(0) * place**2).sum()) == pytest.approx(1.6**2, rel=0.03)
    level, upright = motion(9, 0), motion(9, 90)
    assert torch.count_nonzero(level.sum(1) > 1e-6) == 1
    torch.testing.assert_close(upright, level.T, atol=1e-5, rtol=0)
    rising = motion(9, 45)  # to the right and up: the upper right corner of the array
    assert rising[: len(rising) // 2, len(rising) // 2 + 1 :].sum() > 0.3


@pytest.mark.parametrize("std", [1.0, 1.6, 3.0])
def test_the_width_of_a_blur_is_found_from_the_edges(std):
    image = np.asarray(Image.open(shipped_photographs()["test"]["china"][0]).convert("L"), float) / 127.5 - 1
    blurred = gaussian_filter(image, std) + np.random.default_rng(0).normal(0, 0.01, image.shape)
    assert estimated_std(torch.from_numpy(blurred)[None, None]) == pytest.approx(std, rel=0.25)


def test_a_sharp_picture_is_told_to_be_one():
    step = torch.sign(torch.arange(64) - 31.5).expand(1, 3, 64, 64)
    with pytest.raises(UserError, match="edges are sharp"):
        kernel_of(None, step)


def test_what_a_person_may_say(tmp_path):
    values = np.zeros((3, 4), np.uint8)
    values[0, 0] = values[2, 3] = 100
    Image.fromarray(values).save(tmp_path / "kernel.png")
    kernel = from_file(tmp_path / "kernel.png")
    assert kernel.shape == (5, 5)
    assert float(kernel.sum()) == pytest.approx(1)
    assert torch.count_nonzero(kernel) == 2
    y = torch.zeros(1, 3, 32, 32)
    assert kernel_of(str(tmp_path / "kernel.png"), y).what == "kernel kernel.png"
    assert kernel_of("motion:9:30", y).what == "motion of 9 pixels at 30 degrees"
    for wrong in ("-1", "nan", "1e9", "motion:9", "motion:x:1", "motion:1e9:0", "none.png"):
        with pytest.raises(UserError, match="--blur"):
            kernel_of(wrong, y)
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(tmp_path / "black.png")
    with pytest.raises(UserError, match="no kernel"):
        from_file(tmp_path / "black.png")
