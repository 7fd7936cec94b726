"""One module a stage: the only code that touches disk, devices, progress and logging."""
