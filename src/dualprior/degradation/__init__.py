"""How images are measured: operators, noise, and what the measurement demands of an image."""
