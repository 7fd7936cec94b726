"""Unit conversions, and reading any photograph as upright 8-bit RGB."""

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from dualprior.common.errors import UserError
from dualprior.data.pixels import pixels_01, read_photograph, to_01, to_uint8, to_unit

RGB = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
GREY = RGB[..., 0]


@pytest.fixture
def saved(tmp_path):
    """Write an image under a name, return its path."""

    def save(image, name, **options):
        image.save(tmp_path / name, **options)
        return tmp_path / name

    return save


def as_rgb(grey):
    return np.repeat(grey[..., None], 3, axis=2)


def test_every_8_bit_value_survives_the_round_trip():
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    assert (to_uint8(to_unit(pixels)) == pixels).all()


def test_black_is_minus_one_and_white_is_one():
    pixels = np.array([0, 255, 0], np.uint8).reshape(1, 1, 1, 3)
    assert to_unit(pixels).flatten().tolist() == [-1.0, 1.0, -1.0]


def test_metrics_see_the_same_numbers_from_tensors_arrays_and_pixels():
    pixels = np.random.default_rng(1).integers(0, 256, (2, 4, 5, 3), dtype=np.uint8)
    x = to_unit(pixels)
    np.testing.assert_allclose(to_01(x), pixels_01(pixels), atol=1e-6)
    np.testing.assert_array_equal(to_01(x.numpy()), to_01(x))
    half = (1.2 * x).half()  # clamped and scaled after, not in, half precision
    np.testing.assert_array_equal(to_01(half.numpy()), to_01(half.float()))


def test_to_unit_puts_channels_second():
    x = to_unit(RGB[None])
    assert (x.shape, x.dtype) == ((1, 3, 6, 9), torch.float32)
    assert x[0, 2, 4, 7] == pytest.approx(RGB[4, 7, 2] / 127.5 - 1, abs=1e-6)


def test_to_01_clamps_and_does_not_quantise():
    x = torch.tensor([-3.0, 0.001, 3.0]).reshape(1, 3, 1, 1)
    assert to_01(x).flatten() == pytest.approx([0.0, 0.5005, 1.0])


def test_to_uint8_clamps_and_rounds():
    x = torch.tensor([-3.0, 3.0, 100.6 / 127.5 - 1]).reshape(1, 3, 1, 1)
    assert to_uint8(x).flatten().tolist() == [0, 255, 101]


@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.bmp"])
def test_lossless_rgb_is_read_exactly(saved, name):
    assert (read_photograph(saved(Image.fromarray(RGB), name)) == RGB).all()


def test_grey_becomes_three_equal_channels(saved):
    assert (read_photograph(saved(Image.fromarray(GREY), "a.png")) == as_rgb(GREY)).all()


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_16_bit_grey_keeps_its_range(saved, name):
    deep = Image.fromarray(GREY.astype(np.uint16) * 257)
    assert (read_photograph(saved(deep, name)) == as_rgb(GREY)).all()


def test_16_bit_colour_keeps_its_range(tmp_path):
    import imageio.v3

    imageio.v3.imwrite(tmp_path / "a.tif", RGB.astype(np.uint16) * 257, plugin="tifffile", photometric="rgb")
    assert (read_photograph(tmp_path / "a.tif") == RGB).all()


def test_32_bit_integers_with_16_bit_values_are_read(saved):
    deep = Image.fromarray(GREY.astype(np.int32) * 257)
    assert (read_photograph(saved(deep, "a.tif")) == as_rgb(GREY)).all()


def test_floats_are_taken_as_zero_to_one(saved):
    deep = Image.fromarray(GREY.astype(np.float32) / 255)
    assert (read_photograph(saved(deep, "a.tif")) == as_rgb(GREY)).all()


def test_floats_outside_zero_to_one_are_refused(saved):
    with pytest.raises(UserError, match="outside 0 to 1"):
        read_photograph(saved(Image.fromarray(GREY.astype(np.float32)), "a.tif"))


def test_palette_is_looked_up(saved):
    palette = Image.fromarray(RGB).quantize(8)
    assert (read_photograph(saved(palette, "a.png")) == np.asarray(palette.convert("RGB"))).all()


def test_cmyk_becomes_rgb(saved):
    cmyk = Image.fromarray(RGB).convert("CMYK")
    assert (read_photograph(saved(cmyk, "a.tif")) == np.asarray(cmyk.convert("RGB"))).all()


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparent_pixels_turn_white_and_opaque_ones_stay(saved, mode):
    image = Image.fromarray(RGB).convert(mode)
    alpha = np.full(GREY.shape, 255, np.uint8)
    alpha[0, 0] = 0
    image.putalpha(Image.fromarray(alpha))
    pixels = read_photograph(saved(image, "a.png"))
    assert (pixels[0, 0] == 255).all()
    assert (pixels[1:] == np.asarray(image.convert("RGB"))[1:]).all()


def test_palette_with_a_transparent_colour_is_read(saved):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), mode=None).convert("P")
    palette.putpalette([10, 20, 30, 40, 50, 60])
    pixels = read_photograph(saved(palette, "a.png", transparency=0))
    assert pixels[0].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_exif_orientation_turns_the_picture_upright(saved):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to show
    path = saved(Image.fromarray(RGB), "a.png", exif=exif)
    assert (read_photograph(path) == np.rot90(RGB, -1)).all()


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n" + bytes(40)])
def test_an_unreadable_file_is_one_line_naming_it(tmp_path, content):
    path = tmp_path / "broken.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"broken\.png cannot be read as an image") as caught:
        read_photograph(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_refused_not_half_read(saved):
    path = saved(Image.fromarray(np.tile(RGB, (20, 20, 1))), "a.jpg")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=r"a\.jpg cannot be read"):
        read_photograph(path)


def test_damaged_metadata_do_not_reject_good_pixels(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x9201] = TiffImagePlugin.IFDRational(-1, 0)  # a signed rational that cannot be written again
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=b"Exif\0\0" + exif.tobytes()[6:])
    assert read_photograph(tmp_path / "a.png").shape == (9, 6, 3)
    Image.fromarray(pixels).save(tmp_path / "b.png", exif=b"Exif\0\0junk junk")
    np.testing.assert_array_equal(read_photograph(tmp_path / "b.png"), pixels)
