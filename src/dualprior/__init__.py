"""dualprior: joins a denoising diffusion model (DDPM) and Deep Image Prior (DIP) for image restoration."""
