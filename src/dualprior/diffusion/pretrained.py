"""Models of diffusers behind the project's denoiser: a UNet2DModel is a network that is asked by time instead of noise level."""

from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from dualprior.common.errors import UserError

PREDICTIONS_OF = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}


class FromDiffusers(nn.Module):
    """network(x, log_sigma) -> [B, C, H, W]; x as diffusers scales it, (x0 + sigma eps) / sqrt(1 + sigma²), which is c_in of ours.

    unet: configuration of a UNet2DModel; levels: [T] rising noise levels, sigma_t of every time t. Between them t is interpolated.
    """

    declared: ClassVar[dict[str, int]] = {}  # conditions

    def __init__(self, unet: dict, levels: list[float]):
        from diffusers import UNet2DModel

        super().__init__()
        self.unet = UNet2DModel.from_config(unet)
        self.divisor = 2 ** (len(self.unet.config.block_out_channels) - 1)
        self.register_buffer("log_levels", torch.tensor(levels, dtype=torch.float64).log().float())

    def modulations(self) -> list[nn.Linear]:
        """As UNet's; the layers that hand the time to each block."""
        return [block.time_emb_proj for block in self.modules() if isinstance(getattr(block, "time_emb_proj", None), nn.Linear)]

    def forward(self, x: Tensor, log_sigma: Tensor) -> Tensor:
        above = torch.searchsorted(self.log_levels, log_sigma).clamp(1, len(self.log_levels) - 1)
        low, high = self.log_levels[above - 1], self.log_levels[above]
        time = above - 1 + ((log_sigma - low) / (high - low)).clamp(0, 1)
        return self.unet(x, time, return_dict=False)[0]


def read_pipeline(folder: Path) -> tuple[dict, dict[str, Tensor]]:
    """(description, weights), as `checkpoint` keeps them, of a folder that diffusers wrote.

    The folder of a pipeline (unet/ and scheduler/), or of a UNet2DModel alone, which is then taken to have Ho et al.'s
    schedule. Raises UserError for anything else, or a model of other images than [3, H, W].
    """
    try:
        from diffusers import DDPMScheduler, UNet2DModel

        parts = (folder / "unet").is_dir()
        unet = UNet2DModel.from_pretrained(folder / "unet" if parts else folder, local_files_only=True)
        scheduler = DDPMScheduler.from_pretrained(folder / "scheduler", local_files_only=True) if parts else DDPMScheduler()
    except ImportError:
        raise UserError("models of diffusers need the package diffusers; pip install diffusers") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{folder} is not a folder of a diffusers pipeline or UNet2DModel ({reason})") from None
    if (unet.config.in_channels, unet.config.out_channels) != (3, 3):
        raise UserError(f"{folder}: the model maps {unet.config.in_channels} channels to {unet.config.out_channels}; 3 to 3 are needed")
    levels = np.sqrt(1 / scheduler.alphas_cumprod.double().numpy() - 1).tolist()
    rising = all(0 < a < b < np.inf for a, b in zip(levels, levels[1:], strict=False))
    kind = PREDICTIONS_OF.get(scheduler.config.prediction_type)
    if not rising or kind is None or unet.config.time_embedding_type != "positional":
        raise UserError(
            f"{folder}: only models of DDPM's kind are read: finite noise levels, asked by time, predicting {', '.join(PREDICTIONS_OF)}"
        )
    plain = {name: value for name, value in unet.config.items() if not name.startswith("_")}
    network = FromDiffusers(plain, levels)
    network.unet.load_state_dict(unet.state_dict())
    about = {"network": {"unet": plain, "levels": levels}, "prediction": kind, "precision": "float32", "schedule": {"levels": levels}}
    return about, network.state_dict()
