"""A meta-learned initial state for Deep Image Prior fits: Reptile (Nichol et al. 2018) over training images.

A DIP that starts there is no longer untrained, and saves steps for it: it has seen other images, never the one it fits.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualprior.common.seeding import generator
from dualprior.degradation.operators import Identity, Operator
from dualprior.dip import fit as dip
from dualprior.dip.fit import DIPStep, Recipe
from dualprior.dip.networks.batched_layers import Chunks

State = Mapping[str, Tensor]  # the weights of one network, by name


class ReptileStep(NamedTuple):
    step: int  # outer steps done
    state: State
    loss: Tensor  # [batch], of the last inner step


def mean_state(network: nn.Module) -> dict[str, Tensor]:
    """The mean of the networks that sit side by side in one, or in rows."""
    rows = _rows(network)
    count, weights = sum(row.count for row in rows), [dict(row.named_parameters()) for row in rows]
    joined = {name: torch.cat([row[name].detach() for row in weights]) for name in weights[0]}
    return {name: weight.view(count, -1, *weight.shape[1:]).mean(0) for name, weight in joined.items()}


@torch.no_grad()
def give(network: nn.Module, state: State) -> None:
    """Set each of the networks, side by side or in rows, to one state."""
    for row in _rows(network):
        for name, weight in row.named_parameters():
            weight.copy_(state[name].repeat(row.count, *[1] * (weight.ndim - 1)))


def _rows(network: nn.Module) -> Sequence[nn.Module]:
    return network.rows if isinstance(network, Chunks) else [network]


def learn(recipe: Recipe, images: Tensor, *, outer: int, inner: int, batch: int, rate: float, noise: float) -> Iterator[ReptileStep]:
    """theta <- theta + rate_k (mean of the fitted weights - theta), rate_k falling linearly to 0; yields after each outer step.

    Nichol et al. 2018, Algorithm 2. images: [N, C, H, W] in [-1, 1], of which every outer step draws `batch`; each is fitted
    for `inner` steps, with noise of standard deviation `noise` on it, by the recipe, from an input of its own.
    """
    device = images.device
    state = mean_state(dip.build(recipe.kind, recipe.seed, ["reptile"], **recipe.network).to(device))
    for step in range(1, outer + 1):
        rng = generator(recipe.seed, "reptile", step)
        chosen = images[torch.randint(0, len(images), (batch,), generator=rng)]
        y = chosen + noise * torch.randn(chosen.shape, generator=rng).to(chosen)
        names = [f"reptile/{step}/{index}" for index in range(batch)]
        network = _network(state, recipe, names)
        for done in dip.fit_images(recipe, Identity(), y, names, tuple(y.shape[-2:]), inner, device=device, network=network):
            pass
        fitted, share = mean_state(network), rate * (1 - (step - 1) / outer)
        state = {name: torch.lerp(old, fitted[name], share) for name, old in state.items()}
        yield ReptileStep(step, state, done.loss)


def fit_from(
    state: State, recipe: Recipe, op: Operator, y: Tensor | Callable[[int], Tensor], names: Sequence[str], size: tuple[int, int], steps: int
) -> Iterator[DIPStep]:
    """As `dip.fit_images`, from a given state instead of fresh weights."""
    device = next(iter(state.values())).device
    return dip.fit_images(recipe, op, y, names, size, steps, device=device, network=_network(state, recipe, names))


def _network(state: State, recipe: Recipe, names: Sequence[str]) -> nn.Module:
    network = dip.build(recipe.kind, recipe.seed, names, **recipe.network)
    give(network, state)
    return network
