"""What a degradation is asked: the linear map with its adjoint, pseudo-inverse and proximal step, and all that depends on its kind.

Every prox is written through the gain s / (s² + rho) on the singular values s of A,
    prox(x0, y, rho) = argmin ‖A x - y‖² + rho ‖x - x0‖² = x0 + (AᵀA + rho)⁻¹ Aᵀ (y - A x0),
which at rho = 0 is DDNM's projection x0 + A†(y - A x0) (Wang et al. 2023) and tends to x0 as rho grows.
Images are [B,C,H,W] in any float type and on any device.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from dualprior.common.params import Section

Size = tuple[int, int]  # (H, W)


class Operator:
    """What sampling and fitting may ask of a degradation. Immutable."""

    Settings = Section  # what an entry of `tasks` must say beside its operator and noise
    hides = True  # whether something of the image is not measured at all, or hardly
    measured: Tensor | None = None  # [B,1,h,w] of ones and zeros: which values of y were measured; None: all

    @classmethod
    def draw(cls, settings: Section, size: Size, rng: torch.Generator) -> dict[str, Tensor]:
        """The random part for one image of this size, a batch of one; {} where nothing is random."""
        return {}

    @classmethod
    def build(cls, settings: Section, size: Size, random: Mapping[str, Tensor]) -> "Operator":
        """The operator for images of this size; random: what `draw` gave, joined over images."""
        return cls(**settings.model_dump(), **random)

    @classmethod
    def image_size(cls, settings: Section, y_size: Size) -> Size:
        """The size of the image behind a measurement of this size."""
        return y_size

    def A(self, x: Tensor) -> Tensor:
        """x [B,C,H,W] -> y [B,C,h,w]."""
        raise NotImplementedError

    def A_adjoint(self, y: Tensor) -> Tensor:
        """y [B,C,h,w] -> x [B,C,H,W] with <A x, y> = <x, Aᵀ y>."""
        raise NotImplementedError

    def A_dagger(self, y: Tensor) -> Tensor:
        """y [B,C,h,w] -> x [B,C,H,W] with A A† A = A."""
        raise NotImplementedError

    def prox(self, x0: Tensor, y: Tensor, rho: float | Tensor) -> Tensor:
        """argmin over x of ‖A x - y‖² + rho ‖x - x0‖²; rho >= 0, a float or broadcastable to [B,1,1,1]."""
        raise NotImplementedError

    def cheap_start(self, y: Tensor) -> Tensor:
        """A restoration without any prior worth the name: y itself, A†y or an interpolation; [B,C,H,W]."""
        return self.A_dagger(y)

    def noise_gain(self, y: Tensor) -> float | Tensor:
        """E‖A†w‖²/d for unit noise w like y: a number, or one an image [B].

        By one impulse, which tells all where A† is the same everywhere.
        """
        impulse = torch.zeros_like(y[:1, :1])
        impulse[..., 0, 0] = 1.0
        answer = self.A_dagger(impulse)
        return float(answer.square().sum() * impulse[0, 0].numel() / answer[0, 0].numel())

    def fit_target(self, y: Tensor) -> tuple["Operator", Tensor]:
        """(operator, measurement) whose residual a DIP fit makes small."""
        return self, y

    def __getitem__(self, index) -> "Operator":
        """The same degradation for a subset of the images (a slice, a list or a boolean mask)."""
        return self
