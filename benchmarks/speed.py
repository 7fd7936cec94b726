"""How fast the heavy parts run, against what this machine can do: `make bench`.

Prints one table. The yardstick is a matrix product of 2048 x 2048 in the same arithmetic (bfloat16 where the machine
has it, else float32), measured before and after each part, because machines are shared and noisy; a share of it
compares between machines, seconds do not.
"""

import sys
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1] / "src")]

import cli  # noqa: E402

cli._set_threads()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from dualprior.common import device  # noqa: E402
from dualprior.degradation.operators import Identity  # noqa: E402
from dualprior.diffusion import checkpoint, schedule  # noqa: E402
from dualprior.diffusion.training import TrainState, train  # noqa: E402
from dualprior.dip import fit as dip  # noqa: E402
from dualprior.pipeline.config import load_params  # noqa: E402

HALF_GFLOP = {"channels": 144, "multipliers": (1, 1), "blocks": 1, "patch": 2}
(PARAMS,) = load_params(Path(__file__).parents[1])
DEFAULT = PARAMS.ddpm.network.model_dump()
SKIP = PARAMS.dip.networks["skip"].model_dump(exclude={"kind"})
FITS = 16
NAMES = [str(i) for i in range(FITS)]
BACKWARD = 3  # a training step costs about three forward passes


def main() -> None:
    where = device.pick()
    arithmetic = str(_arithmetic(where)).removeprefix("torch.")
    title = f"Speed on {where}, {torch.get_num_threads()} threads, {arithmetic}"
    table = Table("part", "images/s", "GFLOP/s", "matrix product GFLOP/s", "share", title=title)
    for name, network in (("train, default U-Net", DEFAULT), ("train, 0.5-GFLOP U-Net", HALF_GFLOP)):
        table.add_row(name, *training(network, where))
    table.add_row("call at 64 px, default U-Net", *call(DEFAULT, where))
    for name, step in (("grouped convolutions", grouped), ("torch.func.vmap", vmapped), ("one by one", one_by_one)):
        table.add_row(f"DIP step at 64 px, {FITS} fits, {name}", *dip_step(step(where), where))
    Console(width=120).print(table)


def training(network: dict, where: torch.device, batch: int = 64) -> list[str]:
    denoiser = checkpoint.build(network, "v", "bfloat16", where)
    patches = torch.randint(0, 256, (512, 3, 32, 32), dtype=torch.uint8)
    steps = train(
        TrainState.fresh(denoiser, 1e-4), patches, schedule.noise_levels("lognormal", 1000), steps=10**6, batch_size=batch,
        lr=1e-4, lr_decay="none", warmup_steps=0, grad_clip=1.0, ema=0.999, seed=0,
    )  # fmt: skip
    return _row(lambda: next(steps), batch, BACKWARD * gflop(denoiser, 32), where)


def call(network: dict, where: torch.device, batch: int = 16) -> list[str]:
    denoiser = checkpoint.build(network, "v", "bfloat16", where).eval()
    x = torch.randn(batch, 3, 64, 64, device=where)
    with torch.no_grad():
        return _row(lambda: denoiser(x, 0.5), batch, gflop(denoiser, 64), where)


def dip_step(step: Callable[[], object], where: torch.device) -> list[str]:
    """One optimiser step of every fit, forward, backward and Adam; images/s counts fits."""
    alone = _fit(["0"], where)
    with FlopCounterMode(display=False) as counter:
        next(alone)
    return _row(step, FITS, counter.get_total_flops() / 1e9, where)


def grouped(where: torch.device) -> Callable[[], object]:
    """What the project does."""
    running = _fit(NAMES, where)
    return lambda: next(running)


def one_by_one(where: torch.device) -> Callable[[], object]:
    running = [_fit([name], where) for name in NAMES]
    return lambda: [next(r) for r in running]


def vmapped(where: torch.device) -> Callable[[], object]:
    """The same networks stacked by torch.func: the other way to batch independent fits."""
    nets = [dip.build("skip", 0, [name], **SKIP).to(where) for name in NAMES]
    stacked, _ = torch.func.stack_module_state(nets)
    weights = {name: weight.detach().requires_grad_() for name, weight in stacked.items()}
    optimizer = torch.optim.Adam(weights.values(), lr=1e-3, fused=True)
    z = dip.network_input(0, NAMES, SKIP["input_channels"], (64, 64), PARAMS.dip.input_cell).to(where)[:, None]
    y = torch.rand(FITS, 1, 3, 64, 64, device=where)
    forward = torch.vmap(lambda w, inputs: torch.func.functional_call(nets[0], w, (inputs,)))

    def step() -> None:
        with torch.autocast(where.type, dtype=torch.bfloat16, enabled=_arithmetic(where) == torch.bfloat16):
            out = forward(weights, z)
        loss = (out - y).square().mean((1, 2, 3, 4)).sum()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def _fit(names: list[str], where: torch.device):
    net = dip.build("skip", 0, names, **SKIP).to(where)
    z = dip.network_input(0, names, SKIP["input_channels"], (64, 64), PARAMS.dip.input_cell).to(where)
    y = torch.rand(len(names), 3, 64, 64, device=where)
    settings = {"lr": 1e-3, "input_noise": 0.03, "ema": 0.9, "seed": 0, "autocast": device.autocast_type("bfloat16", where)}
    return dip.fit(net, z, Identity(), y, names=names, steps=10**6, **settings)


def gflop(denoiser, size: int) -> float:
    """GFLOP of one forward pass of one image (a multiplication and an addition are two)."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        denoiser(torch.zeros(1, 3, size, size, device=next(denoiser.parameters()).device), 0.5)
    return counter.get_total_flops() / 1e9


def _row(work: Callable, images: int, gflop_per_image: float, where: torch.device) -> list[str]:
    before = product_rate(where)
    seconds = median_seconds(work)
    product = (before + product_rate(where)) / 2
    rate = gflop_per_image * images / seconds
    return [f"{images / seconds:.0f}", f"{rate:.0f}", f"{product:.0f}", f"{rate / product:.0%}"]


def product_rate(where: torch.device, n: int = 2048) -> float:
    """GFLOP/s of a matrix product."""
    a = torch.randn(n, n, device=where, dtype=_arithmetic(where))
    return 2 * n**3 / 1e9 / median_seconds(lambda: a @ a)


def _arithmetic(where: torch.device) -> torch.dtype:
    return device.autocast_type("bfloat16", where) or torch.float32


def median_seconds(work: Callable[[], object], warm: int = 3, runs: int = 15) -> float:
    seconds = []
    for _ in range(warm + runs):
        with device.Stopwatch(1) as watch:
            work()
        seconds.append(watch.seconds)
    return float(np.median(seconds[warm:]))


if __name__ == "__main__":
    main()
