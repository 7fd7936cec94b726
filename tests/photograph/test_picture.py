"""Picture files keep what they hold: depth, colours, transparency, profile, and which way is up."""

import imagecodecs
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from dualprior.common.errors import UserError
from dualprior.photograph.picture import Picture, read_picture, upright, write_picture

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("alpha", [False, True])
@pytest.mark.parametrize("deep", [False, True])
@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_a_picture_written_and_read_again_is_the_same(tmp_path, channels, alpha, deep, ending):
    top = 65535 if deep else 255
    values = (RNG.integers(0, top + 1, (7, 5, channels)) / top).astype(np.float32)
    picture = Picture(values, values[..., 0] if alpha else None, deep)
    write_picture(tmp_path / f"a{ending}", picture)
    again = read_picture(tmp_path / f"a{ending}")
    assert again.deep == deep
    np.testing.assert_allclose(again.values, values, atol=1e-6)
    assert (again.alpha is None) == (not alpha)
    if alpha:
        np.testing.assert_allclose(again.alpha, picture.alpha, atol=1e-6)


def test_sixteen_bits_of_another_writer_are_read_in_full(tmp_path):
    pixels = RNG.integers(0, 65536, (6, 4, 3), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(np.round(read_picture(tmp_path / "deep.png").values * 65535), pixels)
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.tif")
    np.testing.assert_array_equal(np.round(read_picture(tmp_path / "grey.tif").values[..., 0] * 65535), pixels[..., 0])


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_turned_as_pillow_turns_it(orientation):
    pixels = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
    image = Image.fromarray(pixels)
    image.getexif()[0x0112] = orientation
    np.testing.assert_array_equal(upright(pixels, orientation), np.asarray(ImageOps.exif_transpose(image)))


def test_profile_and_exif_are_kept_and_the_orientation_is_spent(tmp_path):
    image = Image.fromarray(RNG.integers(0, 256, (4, 6, 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112], exif[0x010F] = 6, "a maker"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    image.save(tmp_path / "a.jpg", exif=exif, icc_profile=profile)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.values.shape == (6, 4, 3)
    write_picture(tmp_path / "b.jpg", picture)
    with Image.open(tmp_path / "b.jpg") as again:
        assert again.size == (4, 6)
        assert (again.getexif()[0x0112], again.getexif()[0x010F]) == (1, "a maker")
        assert again.info["icc_profile"] == profile


def test_damaged_metadata_do_not_cost_the_pixels(tmp_path):
    image = Image.fromarray(np.full((4, 4, 3), 9, np.uint8))
    image.save(tmp_path / "a.png", exif=b"Exif\x00\x00junk that is no EXIF")
    assert read_picture(tmp_path / "a.png").values.shape == (4, 4, 3)


def test_a_palette_with_transparency_keeps_it(tmp_path):
    image = Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).convert("P")
    image.save(tmp_path / "a.png", transparency=3)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.alpha == 0).sum() == 1


@pytest.mark.parametrize(
    ("name", "message"),
    [("a.jpg", "holds no transparency"), ("a.xyz", "is not a kind of picture"), ("there.png", "exists; give another name with -o")],
)
def test_what_cannot_be_written_is_refused_in_one_line(tmp_path, name, message):
    (tmp_path / "there.png").write_bytes(b"")
    picture = Picture(np.zeros((2, 2, 3), np.float32), np.ones((2, 2), np.float32))
    with pytest.raises(UserError, match=message):
        write_picture(tmp_path / name, picture)
    assert (tmp_path / "there.png").read_bytes() == b""


@pytest.mark.parametrize("content", [b"", b"not a picture", None])
def test_what_is_no_picture_is_refused_in_one_line(tmp_path, content):
    if content is not None:
        (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(UserError, match="does not exist|cannot be read as a picture") as caught:
        read_picture(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
