"""Where every file lies, for the default experiment and for the studies.

Data and models of a study lie below data/NAME and models/NAME, its metrics and plots in its own folder.
"""

import os
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Every file that a stage reads or writes, below `root`.

    study: the name of a study, None for the default experiment. part: a folder of its own below the study's, for what is
    made several times over (one of several priors).
    """

    root: Path
    study: str | None = None
    part: str = ""

    @property
    def default(self) -> "Paths":
        """The default experiment's."""
        return Paths(self.root)

    def inside(self, part: str) -> "Paths":
        return replace(self, part=part)

    @property
    def pipeline(self) -> Path:
        """The folder of dvc.yaml, params.yaml, metrics/ and plots/."""
        return self.root / "studies" / self.study if self.study else self.root

    @property
    def scratch(self) -> Path:
        """Checkpoints; of an experiment in a temporary folder, in the project's own."""
        return Path(os.environ.get("DVC_ROOT", self.root)) / ".scratch" / (self.study or "default") / self.part

    @property
    def data(self) -> Path:
        return self.root / "data" / (self.study or "") / self.part

    @property
    def models(self) -> Path:
        return self.root / "models" / (self.study or "") / self.part

    def kept_model(self, step: int) -> Path:
        """The folder of the model kept after so many training steps."""
        return self.models / "kept" / str(step)

    def split(self, name: str) -> Path:
        """Pixels of a split: train, val or test, uint8 [N,H,W,3]. Clean test images: for stages degrade and evaluate only."""
        return self.data / f"{name}.npy"

    @property
    def manifest(self) -> Path:
        return self.data / "manifest.csv"

    def measurements(self, task: str) -> Path:
        return self.data / "measurements" / task

    def dip(self, task: str) -> Path:
        return self.data / "dip" / task

    def restored(self, task: str) -> Path:
        return self.data / "restored" / task

    def folder(self, name: str) -> Path:
        """The output folder of a stage that has one: data/NAME."""
        return self.data / name

    def metrics(self, name: str) -> Path:
        return self.pipeline / "metrics" / self.part / name

    def plot(self, name: str) -> Path:
        return self.pipeline / "plots" / self.part / f"{name}.png"
