"""A small convolutional network that tells digits apart; trained on clean ones, it says how much of a digit is left."""

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from dualprior.common.seeding import generator
from dualprior.data.pixels import to_unit

EPOCHS, BATCH = 6, 64


def trained(pixels: np.ndarray, labels: np.ndarray) -> nn.Module:
    """pixels: uint8 [N, 28, 28, 1]."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 7 * 7, 10),
    )  # fmt: skip
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    x, named, rng = to_unit(pixels), torch.from_numpy(labels).long(), generator(0, "classifier")
    for _ in range(EPOCHS):
        for part in torch.randperm(len(x), generator=rng).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(network(x[part]), named[part]).backward()
            optimizer.step()
    return network.eval()


@torch.no_grad()
def told(network: nn.Module, pixels: np.ndarray) -> np.ndarray:
    """The digit that is seen in each: [N]."""
    return network(to_unit(pixels)).argmax(1).numpy()
