"""The smallest experiment: a random network that stands for a trained one, images, problems and parameters."""

from pathlib import Path

import torch
from torch import Tensor, nn

from dualprior.common.seeding import generator
from dualprior.degradation.measurement import measure, observe
from dualprior.degradation.operators import RandomMask
from dualprior.degradation.task import Task
from dualprior.diffusion import schedule
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.unet import UNet
from dualprior.dip import fit as dip
from dualprior.pipeline.config import Params, check_params, read_yaml
from dualprior.restoration.problem import DIPFits, Problem

PROJECT = Path(__file__).parents[1]
SIDE = 16
NETWORK = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "patch": 2}
SKIP = {"channels": (4, 4), "skip_channels": 2, "input_channels": 4}
RECIPE = dip.Recipe(seed=0, kind="skip", network=SKIP, lr=0.01, input_cell=1, input_noise=0.03, ema=0.9, precision="float32")


def params() -> Params:
    """params.yaml under profiles/smoke.yaml, the box small enough for 16 pixels."""
    merged = _merged(read_yaml(PROJECT / "params.yaml"), read_yaml(PROJECT / "profiles/smoke.yaml"))
    merged["tasks"]["inpaint_box"]["box"] = 6
    return check_params(merged)


def _merged(below: dict, above: dict) -> dict:
    joined = {k: _merged(below[k], v) if isinstance(v, dict) else v for k, v in above.items()}
    return below | joined


def images(count: int, side: int = SIDE) -> Tensor:
    """Smooth images in [-1, 1]: [count, 3, side, side]; the first ones are the same whatever the count."""
    coarse = torch.stack([torch.rand(3, 4, 4, generator=generator(0, "tiny", i)) for i in range(count)])
    return nn.functional.interpolate(coarse, size=(side, side), mode="bilinear") * 1.6 - 0.8


def unet(**changes) -> UNet:
    """A network with no weight left at zero."""
    rng = generator(0, "tiny-weights")
    network = UNet(**NETWORK | changes)
    with torch.no_grad():
        for weight in network.parameters():
            weight.copy_(0.15 * torch.randn(weight.shape, generator=rng))
    return network


def denoiser(prediction: str = "v", **changes) -> Denoiser:
    return Denoiser(unet(**changes), prediction).eval().requires_grad_(False)


class Counting:
    """A denoiser that counts its calls and notes the batch sizes and levels."""

    def __init__(self, inner: Denoiser):
        self.inner, self.batches, self.levels = inner, [], []

    @property
    def calls(self) -> int:
        return len(self.batches)

    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        self.batches.append(len(x))
        self.levels.append(sigma)
        return self.inner(x, sigma)


def problem(name: str, count: int, denoise=None) -> Problem:
    """A task of params.yaml on `count` images; image i is the same in every count. The DIP fits are blurry noise."""
    return problem_of(params().tasks[name], name, count, denoise)


def problem_of(task: Task, name: str, count: int, denoise=None) -> Problem:
    x, names = images(count), [f"image{i}" for i in range(count)]
    measured = observe(measure(x, task, 0, name, names), task, names, torch.device("cpu"))
    levels = schedule.noise_levels("lognormal", 20)
    return Problem(measured, denoise or denoiser(), levels, fits(x, estimated=not task.hides), 0)


def fits(x: Tensor, estimated: bool) -> DIPFits:
    """estimated: whether the risk estimate saw the whole image, as in denoising."""
    noise = torch.stack([torch.randn(x.shape[1:], generator=generator(1, "tiny", i)) for i in range(len(x))])
    count = len(x)
    return DIPFits(
        steps=[2, 4, 8],
        snapshots=torch.stack([x + level * noise for level in (0.4, 0.2, 0.3)]),
        stopped=x + 0.2 * noise,
        stop_step=[3 + i for i in range(count)],
        decided_step=[5 + i for i in range(count)],
        error=torch.tensor([0.2 + 0.05 * i for i in range(count)]) if estimated else None,
        seconds_per_step=0.5,
        recipe=RECIPE,
    )


def mask(count: int, keep: float, side: int = SIDE) -> Tensor:
    """[count, 1, side, side]"""
    settings = RandomMask.Settings(keep=keep)
    return torch.cat([RandomMask.draw(settings, (side, side), generator(2, "tiny", i))["mask"] for i in range(count)])


def skipnet(names: list[str], **changes):
    return dip.build("skip", 0, names, **SKIP | changes)
