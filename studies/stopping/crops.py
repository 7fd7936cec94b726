"""Which crops the study uses and how it names their measurements."""

import pandas as pd

from studies.stopping.params import Images


def chosen(manifest: pd.DataFrame, split: str, images: Images) -> pd.DataFrame:
    """One row a measurement: index of its crop in the split's array, image, seed, name ("image~seed").

    The first crops of the split (which alternate between photographs and scales), test crops once for every seed,
    validation crops once.
    """
    rows = manifest[manifest["split"] == split].sort_values("index").head(images.test if split == "test" else images.val)
    seeds = range(images.seeds if split == "test" else 1)
    every = pd.concat([rows[["index", "image"]].assign(seed=seed) for seed in seeds], ignore_index=True)
    return every.assign(name=every["image"] + "~" + every["seed"].astype(str))
