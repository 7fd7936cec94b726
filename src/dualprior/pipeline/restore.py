"""restore@task: restore the test images of a task with every method of the catalogue.

Every setting is chosen on validation images, the only clean images that this stage reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from dualprior.common import device, io
from dualprior.common.params import Restore, Section
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint
from dualprior.restoration.problem import Restoration, read_problems
from dualprior.restoration.selection import restore_all

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("restore",)


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    settings: Restore = config.restore
    where = device.pick()
    clean_val = to_unit(io.read_array(paths.split("val"))).to(where)
    model = checkpoint.load(paths.models, where)
    val, test = read_problems(paths.measurements(key), paths.dip(key), settings.seed, model, where)
    write(paths.restored(key), settings.seed, restore_all(val, test, clean_val, settings, key))


def write(folder: Path, seed: int, restored: Mapping[str, Restoration]) -> None:
    """The restored test images, and what each cost, predicted and chose."""
    io.write_tensors(folder / "images.safetensors", {name: each.x.float() for name, each in restored.items()})
    methods = {name: vars(each.cost) | {"error": None if each.error is None else each.error.tolist()} for name, each in restored.items()}
    choices = {name: {k: v for k, v in each.setting.items() if not isinstance(v, Section)} for name, each in restored.items()}
    io.write_json(folder / "methods.json", {"seed": seed, "methods": methods, "choices": choices})
