"""Where the photographs come from and how they are cut: section `data`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.settings.base import Count, Number, Section, Seed, Whole


class Data(Section):
    source: Literal["photos", "folder"]
    folder: str | None
    seed: Seed
    patch_size: Annotated[Whole, Field(ge=8, multiple_of=4)]
    train_patches: Count
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]
    image_size: Annotated[Whole, Field(ge=16, multiple_of=8)]
    val_images: Annotated[Whole, Field(ge=2)]
    test_images: Annotated[Whole, Field(ge=2)]

    @model_validator(mode="after")
    def _folder_named(self):
        if self.source == "folder" and not self.folder:
            raise ValueError("data.source is 'folder' but data.folder is empty; name the folder of photographs")
        return self
