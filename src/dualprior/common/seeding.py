"""Random streams named by what they are for, so no result depends on order, batch size or number of ranks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:  # the functions import it: preparing data does without and starts seconds sooner
    import torch
    from torch import Tensor


def derive_seed(seed: int, stage: str, *ids: str | int) -> int:
    """A 63-bit seed from a user's seed and the names of the stream; equal on every machine and Python version.

    The names are hashed as a JSON list (blake2b), so ("a", "bc") and ("ab", "c") differ, and so do 1 and "1".
    """
    name = json.dumps([seed, stage, *ids], default=int).encode()
    return int.from_bytes(blake2b(name, digest_size=8).digest(), "big") >> 1


def generator(seed: int, stage: str, *ids: str | int) -> torch.Generator:
    """CPU torch generator of the stream (seed, stage, ids), e.g. generator(0, "degrade", "sr4", "test_china_03")."""
    import torch

    return torch.Generator().manual_seed(derive_seed(seed, stage, *ids))


def numpy_generator(seed: int, stage: str, *ids: str | int) -> np.random.Generator:
    """NumPy generator of the stream (seed, stage, ids)."""
    return np.random.default_rng(derive_seed(seed, stage, *ids))


class ImageNoise:
    """Unit noise for a batch in which every image has its own generator, so no image depends on its batch-mates.

    names: one id per image. Call it with a tensor [B, ...] to draw noise of that shape; successive calls go on.
    """

    def __init__(self, seed: int, stage: str, names: Sequence[str]):
        self._rngs = [generator(seed, stage, name) for name in names]

    def __call__(self, like: Tensor) -> Tensor:
        return self.draw(like.shape[1:]).to(like)

    def draw(self, shape: Sequence[int]) -> Tensor:
        """[B, *shape] on the CPU."""
        import torch

        return torch.stack([torch.randn(tuple(shape), generator=rng) for rng in self._rngs])
