"""Degradations y = A x + n: the linear map, its adjoint, its pseudo-inverse and its proximal step, all in closed form.

Every prox is written through the gain s / (s² + rho) on the singular values s of A,
    prox(x0, y, rho) = argmin ‖A x - y‖² + rho ‖x - x0‖² = x0 + (AᵀA + rho)⁻¹ Aᵀ (y - A x0),
which at rho = 0 is DDNM's projection x0 + A†(y - A x0) (Wang et al. 2023) and tends to x0 as rho grows.
Images are [B,C,H,W] in any float type and on any device. A new degradation is one class and one line of `_KINDS`.
"""

import math
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F

from dualprior.errors import UserError


class Operator(Protocol):
    """What sampling and fitting may ask of a degradation. Immutable."""

    def A(self, x: torch.Tensor) -> torch.Tensor:
        """x [B,C,H,W] -> y [B,C,h,w]."""

    def A_adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """y [B,C,h,w] -> x [B,C,H,W] with <A x, y> = <x, Aᵀ y>."""

    def A_dagger(self, y: torch.Tensor) -> torch.Tensor:
        """y [B,C,h,w] -> x [B,C,H,W] with A A† A = A."""

    def prox(self, x0: torch.Tensor, y: torch.Tensor, rho: float | torch.Tensor) -> torch.Tensor:
        """argmin over x of ‖A x - y‖² + rho ‖x - x0‖²; rho >= 0, a float or broadcastable to [B,1,1,1]."""

    def __getitem__(self, index) -> "Operator":
        """The same degradation for a subset of the images (a slice, a list or a boolean mask)."""


class _SameForAll:
    """A degradation that does not differ between images."""

    def __getitem__(self, index):
        return self


@dataclass(frozen=True)
class Identity(_SameForAll):
    """Denoising: A = I."""

    def A(self, x):
        return x

    def A_adjoint(self, y):
        return y

    def A_dagger(self, y):
        return y

    def prox(self, x0, y, rho):
        return x0 + (y - x0) / (1.0 + rho)


@dataclass(frozen=True, eq=False)
class Mask:
    """Inpainting: A = diag(mask), with mask [B,1,H,W] of zeros (lost) and ones (known). A = Aᵀ = A†."""

    mask: torch.Tensor

    def A(self, x):
        return self.mask.to(x) * x

    def A_adjoint(self, y):
        return self.mask.to(y) * y

    def A_dagger(self, y):
        return self.mask.to(y) * y

    def prox(self, x0, y, rho):
        return x0 + self.mask.to(x0) * (y - x0) / (1.0 + rho)

    def __getitem__(self, index):
        return Mask(self.mask[index])


@dataclass(frozen=True)
class BlockAverage(_SameForAll):
    """Super-resolution: the mean of each factor x factor block. A Aᵀ = I / factor², so A† = factor² Aᵀ repeats pixels.

    The prox follows from Woodbury: (AᵀA + rho)⁻¹ Aᵀ = Aᵀ (A Aᵀ + rho)⁻¹ = Aᵀ / (1/factor² + rho).
    """

    factor: int

    def A(self, x):
        return F.avg_pool2d(x, self.factor)

    def A_adjoint(self, y):
        return self.A_dagger(y) / self.factor**2

    def A_dagger(self, y):
        return y.repeat_interleave(self.factor, dim=-2).repeat_interleave(self.factor, dim=-1)

    def prox(self, x0, y, rho):
        return x0 + self.A_adjoint((y - self.A(x0)) / (1.0 / self.factor**2 + rho))


@dataclass(frozen=True, eq=False)
class GaussianBlur(_SameForAll):
    """Deblurring: circular convolution with a sampled, wrapped Gaussian of `std` pixels; size = (H, W).

    The kernel is even, so its discrete Fourier transform h is real, A = Aᵀ, and h holds the singular values (h = 1
    at frequency zero, the largest). They fall so fast that inverting all of them is meaningless: A† (and the prox at
    rho = 0) drops those below `cutoff`, so noise is amplified at most 5 times and A A† A = A holds on the frequencies
    kept. The prox at rho > 0 uses them all and is exact. The cut-off is the best of 0.05 to 0.3 for A†y on the
    training and validation photographs at std 1.6 and noise 5/255.
    """

    std: float
    size: tuple[int, int]
    cutoff: float = 0.2
    transfer: torch.Tensor = field(init=False, repr=False)  # h, float64 [H, W//2 + 1]

    def __post_init__(self):
        rows, columns = (torch.fft.fft(_wrapped_gaussian(n, self.std)).real for n in self.size)
        object.__setattr__(self, "transfer", rows[:, None] * columns[None, : self.size[1] // 2 + 1])

    def A(self, x):
        return self._filter(x, self._transfer(x))

    def A_adjoint(self, y):
        return self.A(y)

    def A_dagger(self, y):
        return self._filter(y, self._gain(self._transfer(y), 0.0))

    def prox(self, x0, y, rho):
        return x0 + self._filter(y - self.A(x0), self._gain(self._transfer(x0), rho))

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


def _fft_dtype(x: torch.Tensor) -> torch.dtype:
    """There is no half-precision Fourier transform on every device: those are computed in float32."""
    return torch.float64 if x.dtype == torch.float64 else torch.float32


def _wrapped_gaussian(n: int, std: float) -> torch.Tensor:
    """exp(-k²/2 std²) summed over all k congruent modulo n, normalised to sum 1: float64 [n], centre at 0."""
    wraps = math.ceil(8.0 * std / n) + 1
    k = torch.arange(-wraps * n, wraps * n, dtype=torch.float64)
    kernel = torch.exp(-0.5 * (k / std) ** 2).reshape(2 * wraps, n).sum(0)
    return kernel / kernel.sum()


def _block_average(shape, factor):
    if any(side % factor for side in shape):
        raise UserError(
            f"factor={factor} does not divide an image of {shape[0]} x {shape[1]} pixels; "
            "change the task's factor or data.image_size in params.yaml"
        )
    return BlockAverage(factor)


_KINDS = {
    "identity": lambda shape, factor, blur_std, mask: Identity(),
    "block_average": lambda shape, factor, blur_std, mask: _block_average(shape, factor),
    "random_mask": lambda shape, factor, blur_std, mask: Mask(mask),
    "box_mask": lambda shape, factor, blur_std, mask: Mask(mask),
    "gaussian_blur": lambda shape, factor, blur_std, mask: GaussianBlur(blur_std, tuple(shape)),
}


def make_operator(kind: str, *, shape, factor=None, blur_std=None, mask=None) -> Operator:
    """The degradation named `kind` for images of shape (H, W); both mask kinds need mask [B,1,H,W].

    Raises UserError for an unknown kind and for a factor that does not divide the image.
    """
    if kind not in _KINDS:
        raise UserError(f"operator '{kind}' is unknown; choose one of {', '.join(_KINDS)}")
    return _KINDS[kind](shape, factor, blur_std, mask)


def random_mask(shape: tuple[int, int], keep: float, generator: torch.Generator) -> torch.Tensor:
    """float32 [1,1,H,W] with exactly round(keep·H·W) known pixels (at least one) at random places."""
    pixels = shape[0] * shape[1]
    mask = torch.zeros(pixels)
    mask[torch.randperm(pixels, generator=generator)[: max(1, round(keep * pixels))]] = 1.0
    return mask.reshape(1, 1, *shape)


def box_mask(shape: tuple[int, int], box: int, generator: torch.Generator) -> torch.Tensor:
    """float32 [1,1,H,W], known but for a square of `box` pixels at a random place inside. Raises UserError if too large."""
    if box >= min(shape):
        raise UserError(
            f"box={box} does not fit inside an image of {shape[0]} x {shape[1]} pixels; choose a box below {min(shape)} in params.yaml"
        )
    top, left = (int(torch.randint(side - box + 1, (), generator=generator)) for side in shape)
    mask = torch.ones(1, 1, *shape)
    mask[..., top : top + box, left : left + box] = 0.0
    return mask
