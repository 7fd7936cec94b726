"""What is measured, and with which noise: sections `measure` and `tasks`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.settings.base import Count, Number, Positive, Section, Seed, Share, Whole

OperatorName = Literal["identity", "block_average", "random_mask", "box_mask", "gaussian_blur"]


class Measure(Section):
    seed: Seed


class Task(Section):
    operator: OperatorName
    noise: Annotated[Number, Field(ge=0, le=255)]
    factor: Annotated[Whole, Field(ge=2, le=8)] | None = None
    keep: Share | None = None
    box: Count | None = None
    blur_std: Positive | None = None

    @model_validator(mode="after")
    def _has_its_setting(self):
        needed = {"block_average": "factor", "random_mask": "keep", "box_mask": "box", "gaussian_blur": "blur_std"}
        name = needed.get(self.operator)
        if name and getattr(self, name) is None:
            raise ValueError(f"operator {self.operator} needs {name}")
        if self.operator == "identity" and self.noise == 0:
            raise ValueError("denoising with noise 0 has nothing to restore; give a noise above 0")
        return self

    @property
    def sigma_y(self) -> float:
        """Measurement noise in [-1, 1] units: twice the [0, 1] level."""
        return 2.0 * self.noise / 255.0
