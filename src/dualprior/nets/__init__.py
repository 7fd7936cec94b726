"""Networks: the noise-conditioned U-Net of the diffusion model and the skip network of the Deep Image Prior."""
