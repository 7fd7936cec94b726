"""One entry of `tasks`: an operator by its name, the level of the noise, and whatever the operator's own settings are."""

from typing import Annotated

from pydantic import ConfigDict, Field, ValidationError, model_validator

from dualprior.common.errors import choices
from dualprior.common.params import Number, Section
from dualprior.degradation.operators import OPERATORS


class Task(Section):
    model_config = ConfigDict(extra="allow")  # the operator's settings, which it checks itself

    operator: str
    noise: Annotated[Number, Field(ge=0, le=255)]  # standard deviation on the 0-255 scale

    @model_validator(mode="after")
    def _is_complete(self):
        if self.operator not in OPERATORS:
            raise ValueError(f"operator '{self.operator}' is unknown; {choices(self.operator, OPERATORS)}")
        try:
            _ = self.settings
        except ValidationError as error:
            first = error.errors()[0]
            name = ".".join(map(str, first["loc"]))
            raise ValueError(f"operator {self.operator}: {name}: {first['msg'].lower()}") from None
        if self.needs_noise() and not self.hides and self.noise == 0:
            raise ValueError("denoising with noise 0 has nothing to restore; give a noise above 0")
        return self

    @property
    def plain(self) -> dict:
        """Operator, noise and the operator's settings."""
        return {"operator": self.operator, "noise": self.noise, **(self.model_extra or {})}

    def needs_noise(self) -> bool:
        """Whether a denoising task without Gaussian noise has nothing to restore."""
        return True

    @property
    def hides(self) -> bool:
        """Whether something of the image is not measured; False for denoising."""
        return OPERATORS[self.operator].hides

    @property
    def settings(self) -> Section:
        """The operator's own settings, checked."""
        own = self.model_extra or {}
        return OPERATORS[self.operator].Settings.model_validate(own)

    @property
    def sigma_y(self) -> float:
        """Measurement noise in [-1, 1] units: twice the [0, 1] level."""
        return 2.0 * self.noise / 255.0
