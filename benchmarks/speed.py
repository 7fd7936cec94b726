"""How fast the heavy parts run, against what this machine can do: `make bench`.

Prints one table. The yardstick is a bfloat16 matrix product of 2048 x 2048 measured in the same run, before and after
each part, because machines are shared and noisy; a share of it compares between machines, seconds do not.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "src")]

import cli  # noqa: E402

cli._prepare_machine()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from dualprior import device, dip, pretrained, schedule  # noqa: E402
from dualprior.operators import Identity  # noqa: E402
from dualprior.training import TrainState, train  # noqa: E402

HALF_GFLOP = {"channels": 128, "multipliers": (1, 1), "blocks": 1, "patch": 2}
DEFAULT = {"channels": 96, "multipliers": (1, 1), "blocks": 1, "patch": 2}
BACKWARD = 3  # a training step costs about three forward passes


def main() -> None:
    where = device.pick()
    title = f"Speed on {where}, {torch.get_num_threads()} threads"
    table = Table("part", "images/s", "GFLOP/s", "bf16 product GFLOP/s", "share", title=title)
    for name, network in (("train, default U-Net", DEFAULT), ("train, 0.5-GFLOP U-Net", HALF_GFLOP)):
        table.add_row(name, *training(network, where))
    table.add_row("call at 64 px, default U-Net", *call(DEFAULT, where))
    for batched in (True, False):
        table.add_row(f"DIP step at 64 px, 16 fits, {'batched' if batched else 'one by one'}", *dip_step(where, batched))
    Console(width=120).print(table)


def training(network: dict, where: torch.device, batch: int = 64) -> list[str]:
    denoiser = pretrained.build(network, "v", "bfloat16").to(where)
    patches = torch.randint(0, 256, (512, 3, 32, 32), dtype=torch.uint8)
    steps = train(
        TrainState.fresh(denoiser, 1e-4), patches, schedule.noise_levels("lognormal", 1000), steps=10**6, batch_size=batch,
        lr=1e-4, lr_decay="none", warmup_steps=0, grad_clip=1.0, ema=0.999, seed=0,
    )  # fmt: skip
    return _row(lambda: next(steps), batch, BACKWARD * gflop(denoiser, 32), where)


def call(network: dict, where: torch.device, batch: int = 16) -> list[str]:
    denoiser = pretrained.build(network, "v", "bfloat16").to(where).eval()
    x = torch.randn(batch, 3, 64, 64, device=where)
    with torch.no_grad():
        return _row(lambda: denoiser(x, 0.5), batch, gflop(denoiser, 64), where)


def dip_step(where: torch.device, batched: bool, fits: int = 16) -> list[str]:
    """One optimiser step of every fit; images/s counts fits."""
    names = [str(i) for i in range(fits)]
    groups = [names] if batched else [[name] for name in names]
    network = {"channels": (16, 16, 32), "skip_channels": 16, "input_channels": 16}
    running = []
    for group in groups:
        net = dip.build("skip", 0, group, **network).to(where)
        z = dip.network_input(0, group, 16, (64, 64)).to(where)
        y = torch.rand(len(group), 3, 64, 64, device=where)
        running.append(
            dip.fit(net, z, Identity(), y, steps=10**6, lr=1e-3, input_noise=0.03, ema=0.9, seed=0, autocast=torch.bfloat16)
        )
    with FlopCounterMode(display=False) as counter:
        next(running[0])
    flops = counter.get_total_flops() / 1e9 / len(groups[0])
    return _row(lambda: [next(r) for r in running], fits, flops, where)


def gflop(denoiser, size: int) -> float:
    """GFLOP of one forward pass of one image (a multiplication and an addition are two)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(torch.zeros(1, 3, size, size, device=next(denoiser.parameters()).device), 0.5)
    return counter.get_total_flops() / 1e9


def _row(work: Callable, images: int, gflop_per_image: float, where: torch.device) -> list[str]:
    before = product_rate(where)
    seconds = median_seconds(work, where)
    product = (before + product_rate(where)) / 2
    rate = gflop_per_image * images / seconds
    return [f"{images / seconds:.0f}", f"{rate:.0f}", f"{product:.0f}", f"{rate / product:.0%}"]


def product_rate(where: torch.device, n: int = 2048) -> float:
    """GFLOP/s of a bfloat16 matrix product."""
    a = torch.randn(n, n, device=where, dtype=torch.bfloat16)
    return 2 * n**3 / 1e9 / median_seconds(lambda: a @ a, where)


def median_seconds(work: Callable, where: torch.device, warm: int = 3, runs: int = 15) -> float:
    seconds = []
    for k in range(warm + runs):
        begin = time.perf_counter()
        work()
        if where.type == "cuda":
            torch.cuda.synchronize()
        if k >= warm:
            seconds.append(time.perf_counter() - begin)
    return float(np.median(seconds))


if __name__ == "__main__":
    main()
