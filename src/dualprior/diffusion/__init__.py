"""The prior learned from data: denoiser, schedule, training, samplers."""
