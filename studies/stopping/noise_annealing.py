"""Noise annealing of a Deep Image Prior: its noise falls from heavy to light, as the reverse diffusion goes.

Each level k fits the measurement with tau_k times a frozen noise added (on the target), or is driven by an input whose
jitter is stronger (on the input); tau falls over the levels of the diffusion model's sampling grid to 0. An image
descends to the next level when its error estimate stalls, or after a set number of steps. All levels sit on the side of
the split that is fitted, so the risk estimate stays independent of them (`dip.risk`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dualprior.common.errors import UserError


class NoiseAnnealing:
    """Which level every image stands on.

    taus: [K] falling to 0, in [-1, 1] units. patience: steps without a new least estimate after which an image
    descends. The last level is never left.
    """

    def __init__(self, taus: Sequence[float], count: int, patience: int, device: torch.device | None = None):
        self._taus = torch.tensor(list(taus), dtype=torch.float32, device=device)
        if not (len(self._taus) and self._taus[-1] == 0 and (self._taus.diff() < 0).all()):  # nor with NaN
            raise UserError(f"the levels of noise annealing fall strictly and end at 0; these are {list(taus)}")
        self.level = torch.zeros(count, dtype=torch.int64, device=device)  # [n]
        self._patience = patience
        self._least = torch.full((count,), torch.inf, device=device)
        self._since = torch.zeros(count, dtype=torch.int64, device=device)

    @property
    def tau(self) -> Tensor:
        """[n], the noise level of every image's level."""
        return self._taus[self.level]

    def update(self, step: int, estimate: Tensor) -> Tensor:
        """Feed the error estimate [n] of one step; gives the images [n] that leave their level with it."""
        better = estimate < self._least
        self._least = torch.where(better, estimate, self._least)
        self._since[better] = step
        leaves = (step - self._since >= self._patience) & (self.level < len(self._taus) - 1)
        self.level += leaves
        self._least[leaves] = torch.inf
        self._since[leaves] = step
        return leaves

    def step_down(self, where: Tensor) -> Tensor:
        """Send the images of `where` [n] one level down, whatever their estimate; gives those that left one."""
        leaves = where & (self.level < len(self._taus) - 1)
        self.level += leaves
        return leaves


def noised(y: Tensor, tau: Tensor, frozen: Tensor, level: Tensor) -> Tensor:
    """y + tau_k xi_k for every image's level k: [n, C, H, W]. frozen: xi, [K, n, C, H, W], drawn once."""
    every = torch.arange(len(y), device=y.device)
    return y + tau.view(-1, 1, 1, 1) * frozen[level, every]
