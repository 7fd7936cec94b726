"""The leak audit: section `audit`."""

from typing import Annotated

from pydantic import Field

from dualprior.settings.base import Count, Number, Positive, Section, Whole


class Audit(Section):
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: Annotated[Whole, Field(ge=2)]  # of the DIP fitted to noised copies
    rungs: Annotated[Whole, Field(ge=2)]
    top: Positive  # the heaviest noise of a copy, in [-1, 1] units
    calls: Count  # of the guided chain
    gamma: Annotated[Number, Field(ge=0, le=1)]
    restart_calls: Count
