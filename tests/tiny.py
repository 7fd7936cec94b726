"""The smallest experiment: a random network that stands for a trained one, images, problems and parameters."""

from pathlib import Path

import torch
from dualprior.common.config import Params, check_params, read_yaml
from torch import Tensor, nn

from dualprior.common.seeding import generator
from dualprior.degradation.measurement import Measurement
from dualprior.degradation.operators import make_operator, random_mask
from dualprior.diffusion import schedule
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.unet import UNet
from dualprior.dip import fit as dip
from dualprior.pipeline.degrade import measure
from dualprior.restoration.problem import CoupledSettings, DIPFits, Problem

PROJECT = Path(__file__).parents[1]
SIDE = 16
NETWORK = {"channels": 8, "multipliers": (1, 2), "blocks": 1, "patch": 2}
SKIP = {"channels": (4, 4), "skip_channels": 2, "input_channels": 4}
RECIPE = dip.Recipe(seed=0, kind="skip", network=SKIP, lr=0.01, input_cell=1, input_noise=0.03, ema=0.9, precision="float32")
COUPLED = CoupledSettings(
    steps=9, beta=1.0, refresh=4, level_scale=1.0, recipe=RECIPE, data_term="back_projection", expected_error=((2, 0.5), (9, 0.3))
)


def params() -> Params:
    """params.yaml under profiles/smoke.yaml."""
    return check_params(_merged(read_yaml(PROJECT / "params.yaml"), read_yaml(PROJECT / "profiles/smoke.yaml")))


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
    task = params().tasks[name].model_copy(update={"box": 6 if name == "inpaint_box" else None})
    x, names = images(count), [f"image{i}" for i in range(count)]
    y, mask = measure(x, task, 0, name, names)
    op = make_operator(task.operator, shape=(SIDE, SIDE), factor=task.factor, blur_std=task.blur_std, mask=mask)
    measured = Measurement(op, y, task.sigma_y, names, (SIDE, SIDE))
    return Problem(measured, denoise or denoiser(), schedule.noise_levels("lognormal", 20), fits(x, judged=name.startswith("denoise")), 0)


def fits(x: Tensor, judged: bool) -> DIPFits:
    """judged: whether the risk saw the whole image, as they do in denoising."""
    noise = torch.stack([torch.randn(x.shape[1:], generator=generator(1, "tiny", i)) for i in range(len(x))])
    count = len(x)
    return DIPFits(
        steps=[2, 4, 8],
        snapshots=torch.stack([x + level * noise for level in (0.4, 0.2, 0.3)]),
        stopped=x + 0.2 * noise,
        stop_step=[3 + i for i in range(count)],
        decided_step=[5 + i for i in range(count)],
        error=torch.tensor([0.2 + 0.05 * i for i in range(count)]) if judged else None,
        seconds_per_step=0.5,
    )


def mask(count: int, keep: float, side: int = SIDE) -> Tensor:
    """[count, 1, side, side]"""
    return torch.cat([random_mask((side, side), keep, generator(2, "tiny", i)) for i in range(count)])


def skipnet(names: list[str], **changes):
    return dip.build("skip", 0, names, **SKIP | changes)
