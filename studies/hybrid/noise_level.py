"""noise_level@level: denoise at a noise level of its own with every method. Noise is added to measurements that have less of it,
so that no clean crop is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprior.common import device, io
from dualprior.common.params import Restore
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_unit
from dualprior.degradation.measurement import read_measurement, write_measurement
from dualprior.degradation.task import Task
from dualprior.pipeline import fit_dip
from dualprior.pipeline.restore import write
from dualprior.restoration.problem import read_problems
from dualprior.restoration.selection import restore_all
from studies.hybrid import prior_strength
from studies.hybrid.params import FULL, NoiseLevels

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("noise_levels", "dip", "restore")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the standard deviation of the noise, on the 0-255 scale."""
    wanted: NoiseLevels = config.noise_levels
    settings: Restore = config.restore.without_full_chain()
    here, name = place(paths, key), task_name(key)
    about = io.read_json(paths.measurements(wanted.task) / "images.json")["task"]
    task = Task(**about | {"noise": float(key)})
    tensors, names = {}, {}
    for split, count in (("val", wanted.validation), ("test", wanted.images)):
        less = read_measurement(paths.measurements(wanted.task), split, device.pick()).first(count)
        missing = (task.sigma_y**2 - less.sigma_y**2) ** 0.5
        noise = ImageNoise(settings.seed, f"noise-level-{key}", less.names)
        tensors[f"{split}_y"], names[split] = less.y + missing * noise(less.y), less.names
    write_measurement(here.measurements(name), tensors, names, task)
    clean = io.read_array(paths.split("val"))[: wanted.validation]
    io.write_array(here.split("val"), clean)
    fit_dip.run(config, here, name)
    clean_val = to_unit(clean).to(device.pick())
    problems = read_problems(here.measurements(name), here.dip(name), settings.seed, prior_strength.load(paths, FULL), device.pick())
    write(here.restored(name), settings.seed, restore_all(*problems, clean_val, settings, name))


def place(paths: Paths, level: str) -> Paths:
    return paths.inside(f"noise/{level}")


def task_name(level: str) -> str:
    return f"denoise{level}"
