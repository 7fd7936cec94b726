"""How results are judged: section `evaluate`."""

from typing import Annotated, Literal

from pydantic import Field

from dualprior.settings.base import Section, Seed, Share, Whole


class Evaluate(Section):
    bootstrap: Annotated[Whole, Field(ge=100)]
    confidence: Share
    seed: Seed
    extractor: Literal["patch-features", "inception"]
    inception_weights: str | None
