"""What a variant is given of an image beside its noisy version: first guesses, read from what stage guesses wrote."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import io
from studies.training.params import Variant

if TYPE_CHECKING:
    from dualprior.common.paths import Paths


@dataclass(frozen=True)
class Given:
    """What a variant knows of its images beside their noisy versions."""

    condition: Tensor  # [N, k, H, W], what the network sees
    mean: Tensor | None  # [N, C, H, W]

    def __getitem__(self, place) -> Given:
        return Given(self.condition[place], None if self.mean is None else self.mean[place])

    def to(self, device: torch.device) -> Given:
        return Given(self.condition.to(device), None if self.mean is None else self.mean.to(device))


def read_guess(paths: Paths, problem: str, split: str, guess: str) -> Tensor:
    """[N, C, H, W] in [-1, 1]. guess: "cheap", "classic", "dip", or a fit that was not chosen."""
    return torch.from_numpy(io.read_array(paths.inside("guesses").data / problem / f"{split}_{guess}.npy")).float()


def read_given(paths: Paths, problem: str, split: str, variant: Variant) -> Given:
    """What a variant knows of the images of a split; of training patches, of as many as it has."""
    count = variant.patches if split == "train" else None
    read = lambda guess: read_guess(paths, problem, split, (variant.fit or guess) if guess == "dip" else guess)[:count]  # noqa: E731
    return Given(torch.cat([read(guess) for guess in variant.condition], dim=1), None if variant.mean is None else read(variant.mean))
