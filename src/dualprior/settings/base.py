"""The parts that the sections of params.yaml are made of: frozen models that refuse unknown names, and checked types."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # neither true nor "25"; a whole number passes
Whole = Annotated[int, Field(strict=True)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Precision = Literal["bfloat16", "float32"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
