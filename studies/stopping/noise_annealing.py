"""A ladder of noise levels for a Deep Image Prior: from heavy to light, as the reverse diffusion goes.

Each rung k fits the measurement with tau_k times a frozen noise added (on the target), or is driven by an input whose
jitter is stronger (on the input); tau falls over the levels of the diffusion model's sampling grid to 0. An image
descends to the next rung when its error estimate stalls, or after a set number of steps. All rungs sit on the side of
the split that is fitted, so the judge stays independent of them (`witness.recorrupted_split`).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dualprior.common.errors import UserError


class Ladder:
    """Which rung every image stands on.

    taus: [K] falling to 0, in [-1, 1] units. patience: steps without a new least estimate after which an image
    descends. The last rung is never left.
    """

    def __init__(self, taus: Sequence[float], count: int, patience: int, device: torch.device | None = None):
        self._taus = torch.tensor(list(taus), dtype=torch.float32, device=device)
        if not (len(self._taus) and self._taus[-1] == 0 and (self._taus.diff() < 0).all()):  # nor with NaN
            raise UserError(f"the rungs of a ladder fall strictly and end at 0; these are {list(taus)}")
        self.rung = torch.zeros(count, dtype=torch.int64, device=device)  # [n]
        self._patience = patience
        self._least = torch.full((count,), torch.inf, device=device)
        self._since = torch.zeros(count, dtype=torch.int64, device=device)

    @property
    def tau(self) -> Tensor:
        """[n], the noise level of every image's rung."""
        return self._taus[self.rung]

    def update(self, step: int, estimate: Tensor) -> Tensor:
        """Feed the error estimate [n] of one step; gives the images [n] that leave their rung with it."""
        better = estimate < self._least
        self._least = torch.where(better, estimate, self._least)
        self._since[better] = step
        leaves = (step - self._since >= self._patience) & (self.rung < len(self._taus) - 1)
        self.rung += leaves
        self._least[leaves] = torch.inf
        self._since[leaves] = step
        return leaves

    def climb_down(self, where: Tensor) -> Tensor:
        """Send the images of `where` [n] one rung down, whatever their estimate; gives those that left one."""
        leaves = where & (self.rung < len(self._taus) - 1)
        self.rung += leaves
        return leaves


def noised(y: Tensor, tau: Tensor, frozen: Tensor, rung: Tensor) -> Tensor:
    """y + tau_k xi_k for every image's rung k: [n, C, H, W]. frozen: xi, [K, n, C, H, W], drawn once."""
    every = torch.arange(len(y), device=y.device)
    return y + tau.view(-1, 1, 1, 1) * frozen[rung, every]
