"""The degradations, each in closed form. A new one is one class here, a line of `OPERATORS` and a line in params.yaml."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from dualprior.common.errors import UserError
from dualprior.common.params import Count, Number, Section, Share, Whole
from dualprior.degradation.operator import Operator, Size
from dualprior.degradation.physics import Physics


@dataclass(frozen=True)
class Identity(Operator):
    """Denoising: A = I."""

    hides = False

    def A(self, x):
        return x

    def A_adjoint(self, y):
        return y

    def A_dagger(self, y):
        return y

    def prox(self, x0, y, rho):
        return x0 + (y - x0) / (1.0 + rho)

    def noise_gain(self, y):
        return 1.0


@dataclass(frozen=True, eq=False)
class Mask(Operator):
    """Inpainting: A = diag(mask), with mask [B,1,H,W] of zeros (lost) and ones (known). A = Aᵀ = A†."""

    mask: Tensor

    @classmethod
    def build(cls, settings, size, random):
        return cls(random["mask"])

    @property
    def measured(self):
        return self.mask

    def A(self, x):
        return self.mask.to(x) * x

    def A_adjoint(self, y):
        return self.mask.to(y) * y

    def A_dagger(self, y):
        return self.mask.to(y) * y

    def prox(self, x0, y, rho):
        return x0 + self.mask.to(x0) * (y - x0) / (1.0 + rho)

    def cheap_start(self, y):
        """The holes filled by the biharmonic equation (Damelin & Hoang 2018), scikit-image's."""
        from skimage.restoration import inpaint_biharmonic

        holes, known = (self.mask == 0)[:, 0].cpu().numpy(), self.A_dagger(y).movedim(1, -1).cpu().numpy()
        filled = [inpaint_biharmonic(image, hole, channel_axis=-1) for image, hole in zip(known, holes, strict=True)]
        return torch.stack([torch.from_numpy(image) for image in filled]).movedim(-1, 1).to(y)

    def noise_gain(self, y):
        return self.mask.to(y).mean((1, 2, 3))

    def __getitem__(self, index):
        return type(self)(self.mask[index])


class RandomMask(Mask):
    """Pixels known at random places."""

    class Settings(Section):
        keep: Share  # of the pixels

    @classmethod
    def draw(cls, settings, size, rng):
        """Exactly round(keep·H·W) known pixels, at least one. Raises UserError where that is all."""
        pixels = size[0] * size[1]
        known = max(1, round(settings.keep * pixels))
        if known == pixels:
            raise UserError(
                f"keep={settings.keep} of {size[0]} x {size[1]} pixels is all of them, so nothing is lost; lower it in params.yaml"
            )
        mask = torch.zeros(pixels)
        mask[torch.randperm(pixels, generator=rng)[:known]] = 1.0
        return {"mask": mask.reshape(1, 1, *size)}


class BoxMask(Mask):
    """A square hole at a random place inside the image."""

    class Settings(Section):
        box: Count  # its side, pixels

    @classmethod
    def draw(cls, settings, size, rng):
        """Raises UserError for a box that does not fit."""
        box = settings.box
        if box >= min(size):
            raise UserError(
                f"box={box} does not fit inside an image of {size[0]} x {size[1]} pixels; choose a box below {min(size)} in params.yaml"
            )
        top, left = (int(torch.randint(side - box + 1, (), generator=rng)) for side in size)
        mask = torch.ones(1, 1, *size)
        mask[..., top : top + box, left : left + box] = 0.0
        return {"mask": mask}


@dataclass(frozen=True)
class BlockAverage(Operator):
    """Super-resolution: the mean of each factor x factor block. A Aᵀ = I / factor², so A† = factor² Aᵀ repeats pixels.

    The prox follows from Woodbury: (AᵀA + rho)⁻¹ Aᵀ = Aᵀ (A Aᵀ + rho)⁻¹ = Aᵀ / (1/factor² + rho).
    """

    factor: int

    class Settings(Section):
        factor: Annotated[Whole, Field(ge=2, le=8)]

    @classmethod
    def build(cls, settings, size, random):
        """Raises UserError for a factor that does not divide the image."""
        if any(side % settings.factor for side in size):
            raise UserError(
                f"factor={settings.factor} does not divide an image of {size[0]} x {size[1]} pixels; "
                "change the task's factor or data.image_size in params.yaml"
            )
        return cls(settings.factor)

    @classmethod
    def image_size(cls, settings, y_size):
        return y_size[0] * settings.factor, y_size[1] * settings.factor

    def A(self, x):
        return F.avg_pool2d(x, self.factor)

    def A_adjoint(self, y):
        return self.A_dagger(y) / self.factor**2

    def A_dagger(self, y):
        return y.repeat_interleave(self.factor, dim=-2).repeat_interleave(self.factor, dim=-1)

    def prox(self, x0, y, rho):
        return x0 + self.A_adjoint((y - self.A(x0)) / (1.0 / self.factor**2 + rho))

    def cheap_start(self, y):
        """Bicubic interpolation."""
        return F.interpolate(y, scale_factor=self.factor, mode="bicubic", antialias=False)


@dataclass(frozen=True, eq=False)
class GaussianBlur(Operator):
    """Deblurring: circular convolution with a sampled, wrapped Gaussian of `std` pixels; size = (H, W).

    The kernel is even, so its discrete Fourier transform h is real, A = Aᵀ, and h holds the singular values (h = 1
    at frequency zero, the largest). They fall so fast that inverting all of them is meaningless: A† (and the prox at
    rho = 0) drops those below `cutoff`, so noise is amplified at most 5 times and A A† A = A holds on the frequencies
    kept. The prox at rho > 0 uses them all and is exact. The cut-off is the best of 0.05 to 0.3 for A†y on the
    training and validation photographs at std 1.6 and noise 5/255.
    """

    std: float
    size: Size
    cutoff: float = 0.2
    transfer: Tensor = field(init=False, repr=False)  # h, float64 [H, W//2 + 1]

    class Settings(Section):
        blur_std: Annotated[Number, Field(gt=0, le=100)]  # pixels

    def __post_init__(self):
        rows, columns = (torch.fft.fft(_wrapped_gaussian(n, self.std)).real for n in self.size)
        object.__setattr__(self, "transfer", rows[:, None] * columns[None, : self.size[1] // 2 + 1])

    @classmethod
    def build(cls, settings, size, random):
        return cls(settings.blur_std, tuple(size))

    def A(self, x):
        return self._filter(x, self._transfer(x))

    def A_adjoint(self, y):
        return self.A(y)

    def A_dagger(self, y):
        return self._filter(y, self._gain(self._transfer(y), 0.0))

    def prox(self, x0, y, rho):
        return x0 + self._filter(y - self.A(x0), self._gain(self._transfer(x0), rho))

    def fit_target(self, y):
        """A†A and A†y: the residual ‖A†(A x - y)‖² (Tirer & Giryes 2020, Eq. 7), whose gradient the blur does not flatten."""
        return BackProjected(self), self.A_dagger(y)

    def _transfer(self, x):
        return self.transfer.to(x.device, _fft_dtype(x))

    def _gain(self, h, rho):
        """h / (h² + rho), and 0 where rho = 0 and h is below the cut-off."""
        rho = torch.as_tensor(rho, dtype=h.dtype, device=h.device)
        kept = (rho > 0) | (h > self.cutoff)
        return torch.where(kept, h / torch.where(kept, h * h + rho, 1.0), 0.0)

    def _filter(self, x, gain):
        spectrum = torch.fft.rfft2(x.to(_fft_dtype(x)))
        return torch.fft.irfft2(spectrum * gain, s=self.size).to(x.dtype)


@dataclass(frozen=True)
class BackProjected(Operator):
    """A†A of another operator, for fits only."""

    op: Operator

    def A(self, x):
        return self.op.A_dagger(self.op.A(x))


def _fft_dtype(x: Tensor) -> torch.dtype:
    """There is no half-precision Fourier transform on every device: those are computed in float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _wrapped_gaussian(n: int, std: float) -> Tensor:
    """exp(-k²/2 std²) summed over all k congruent modulo n, normalised to sum 1: float64 [n], centre at 0."""
    wraps = math.ceil(8.0 * std / n) + 1
    k = torch.arange(-wraps * n, wraps * n, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (k / std) ** 2).reshape(2 * wraps, n).sum(0)
    return kernel / kernel.sum()


OPERATORS: dict[str, type[Operator]] = {
    "identity": Identity, "block_average": BlockAverage, "random_mask": RandomMask, "box_mask": BoxMask, "gaussian_blur": GaussianBlur,
    "deepinv": Physics,
}  # fmt: skip


def draw_random(kind: str, settings: Section, size: Size, rngs: Sequence[torch.Generator]) -> dict[str, Tensor]:
    """The random parts of one operator for several images, a stream each, joined along the first axis."""
    drawn = [OPERATORS[kind].draw(settings, size, rng) for rng in rngs]
    return {name: torch.cat([each[name] for each in drawn]) for name in drawn[0]}
