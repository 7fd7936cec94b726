"""dualprior's network as a model of diffusers: what it is given at time t is (x0 + sigma_t eps) / sqrt(1 + sigma_t²)."""

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput

from dualprior.diffusion.unet import UNet


class DualpriorUNet(ModelMixin, ConfigMixin):
    """network: arguments of UNet; levels: sigma_t of every time."""

    @register_to_config
    def __init__(self, network: dict, levels: list[float], in_channels: int = 3, sample_size: int = 64):
        super().__init__()
        self.body = UNet(**network)
        self.register_buffer("log_levels", torch.tensor(levels).log())

    def forward(self, sample, timestep, return_dict: bool = True):
        """sample: [B, 3, H, W], H and W multiples of the network's divisor; timestep: [] or [B]."""
        times = torch.as_tensor(timestep, device=sample.device).long().expand(len(sample))
        out = self.body(sample, self.log_levels[times])
        return UNet2DOutput(out) if return_dict else (out,)
