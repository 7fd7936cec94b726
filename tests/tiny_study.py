"""The smallest study of stopping rules: one fit of every kind, a few steps each, and the stages run on invented crops."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import tiny
from dualprior.common.config import Config, check_params, read_yaml
from ruamel.yaml import YAML
from studies.stopping.params import StoppingStudy

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8
from dualprior.diffusion import checkpoint

PIPELINE = "studies/stopping"
STEPS, EVERY, SIDE = 20, 5, 32
CROPS = {"val": 3, "test": 3}  # one more than the study takes of each
FITS = {
    "plain": {"problem": "gaussian25", "probe": True},
    "poisson": {"problem": "poisson30"},
    "impulses": {"problem": "impulses15"},
    "sr4": {"problem": "sr4"},
    "inpaint": {"problem": "inpaint_random"},
    "paired_names": {"problem": "gaussian25", "split": "none", "whole": False},
    "held_out": {"problem": "gaussian25", "split": "held_out", "whole": False},
    "level": {"problem": "gaussian25", "noise_level": "estimated", "whole": False},
    "target": {"problem": "gaussian25", "ladder": "target", "whole": False},
    "input": {"problem": "gaussian25", "ladder": "input", "whole": False},
    "literal": {"problem": "gaussian25", "ladder": "literal"},
    "clean": {"problem": "clean", "ladder": "literal"},
    "clean_twins": {"problem": "clean", "split": "none"},
}


def params(names: Iterable[str] = FITS, steps: int = STEPS, every: int = EVERY) -> dict:
    """The committed parameters with fewer and smaller of everything; names: of `FITS`."""
    data = read_yaml(tiny.PROJECT / PIPELINE / "params.yaml")
    data["images"] |= {"test": 2, "seeds": 2, "val": 2}
    data["networks"] = {"skip": {"kind": "skip", "channels": [8, 8], "skip_channels": 4, "input_channels": 4}}
    data["fitting"] |= {"rung_patience": every, "precision": "float32"}
    data["fits"] = {name: {"network": "skip", "steps": steps, "every": every, **FITS[name]} for name in names}
    data["problems"] = {name: data["problems"][name] for name in dict.fromkeys(fit["problem"] for fit in data["fits"].values())}
    data["guide"] |= {"problems": ["gaussian25"], "steps": 10, "refresh": 5, "patience": 5}
    data["guide"]["weights"] = {term: weights[:2] for term, weights in data["guide"]["weights"].items()}
    data["rules"] |= {"patiences": [5, 10, 20], "window": 4 * every, "windows": [2 * every, 4 * every], "judge_every": 1}
    data["rules"] |= {"self_validation_window": 2}
    data["judging"] |= {"bootstrap": 100, "shown": 2}
    return data


PARAMS = check_params(params(), f"{PIPELINE}/params.yaml", StoppingStudy)


def start(root: Path, scratch: Path) -> Paths:
    """What the default experiment leaves for the study: clean crops, their manifest, and a network that was never trained."""
    paths = Paths(root, scratch, PIPELINE)
    for split in CROPS:
        write_clean(paths, split)
    rows = [(split, i, f"{split}{i}") for split, count in CROPS.items() for i in range(count)]
    io.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "image"]))
    checkpoint.save(paths, tiny.denoiser(), tiny.NETWORK, "float32", "lognormal", 20)
    return paths


def write_clean(paths: Paths, split: str) -> None:
    io.write_array(getattr(paths, split), to_uint8(tiny.images(CROPS[split], SIDE)))


def clean(split: str) -> np.ndarray:
    """The crops that the study takes: [n, SIDE, SIDE, 3] uint8."""
    return to_uint8(tiny.images(CROPS[split], SIDE))[: getattr(PARAMS.images, split)]


def run(stage, paths: Paths, key: str | None = None, params: StoppingStudy = PARAMS) -> None:
    """One stage, given what its PARAMS names and nothing else."""
    places = {"key": key}
    if key in params.fits:
        places |= {"problem": params.fits[key].problem, "network": params.fits[key].network}
    stage.run(Config(params, tuple(section.format(**places) for section in stage.PARAMS)), paths, key)


def shrink(root: Path, names: Iterable[str], **changes) -> None:
    """Leave a few small fits in the study of a project: in its params.yaml, and in the lists of its dvc.yaml."""
    yaml, data = YAML(), params(names, **changes)
    yaml.dump(data, root / PIPELINE / "params.yaml")
    used = {
        "fits": data["fits"],
        "measured": [f"{problem}.safetensors" for problem in data["problems"]],
        "guided": data["guide"]["problems"],
    }
    document = yaml.load(root / PIPELINE / "dvc.yaml")
    for name in ("stop", "judge"):
        listed = {kind for dep in document["stages"][name]["deps"] for kind in used if dep.startswith(f"data/stopping/{kind}/")}
        deps = [dep for dep in document["stages"][name]["deps"] if not dep.startswith(tuple(f"data/stopping/{kind}/" for kind in listed))]
        document["stages"][name]["deps"] = deps + [f"data/stopping/{kind}/{each}" for kind in sorted(listed) for each in used[kind]]
    yaml.dump(document, root / PIPELINE / "dvc.yaml")
