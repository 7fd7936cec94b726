"""The smallest wide study of the hybrid: two tasks, one weaker prior, few values of every knob, on small crops."""

from pathlib import Path

import tiny
from dualprior.common.config import Config, Params, check_params, read_yaml
from ruamel.yaml import YAML
from studies.hybrid.params import HybridStudy

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8
from dualprior.diffusion import checkpoint

PIPELINE = "studies/hybrid"
TASKS, PRIOR = ("denoise50", "sr4"), "tenth"
SMALL = {"channels": [8, 8], "input_channels": 4}
ABLATE = {
    "tasks": list(TASKS), "images": 2, "start_level": [0.1, 0.4], "start_scale": [1.0, 2.0], "dip_steps": [4, 12], "calls": [1, 2],
    "samples": [1, 2], "data_weight": [0.25, 1.0], "start_kind": ["dip", "bicubic"], "gamma": [0.0, 0.25], "guided_calls": 3,
    "left_out": ["nothing", "DIP"], "beta": [0.0, 0.3], "inflation": [1.0, 2.0],
    "interleaved": {"weights": [0.0, 0.5], "steps": 4, "refit": 2},
    "network": {"skip": {"kind": "skip", "skip_channels": 4, **SMALL}, "decoder": {"kind": "decoder", **SMALL}},
}  # fmt: skip


def params() -> dict:
    """The committed parameters with fewer and smaller of everything."""
    data = read_yaml(tiny.PROJECT / PIPELINE / "params.yaml")
    data["crops"] |= {"test": 2, "skip": 1, "val": 2, "seeds": 2}
    data["problems"], data["priors"] = list(TASKS), {PRIOR: data["priors"][PRIOR]}
    data["runs"] = {name: data["runs"][name] for name in (*TASKS, f"{PRIOR}-denoise50")}
    data["runs"][f"{PRIOR}-denoise50"]["images"] = 2
    data["realism"] |= {"tasks": ["sr4"], "calls": [1, 3], "full": 8, "images": 3, "scales": [1.0, 2.0], "chosen_at": 2}
    data["contraction"] |= {"levels": [0.1, 0.8], "calls": 2, "images": 2}
    data["classic"] |= {"calls": 3, "strengths": [0.1, 1.0], "images": 3}
    data["meta"] |= {"tasks": ["sr4"], "outer": 2, "inner": 3, "batch": 2, "kept": [2, 4], "images": 2}
    data["ablate"] = ABLATE
    return data


STUDY = check_params(params(), f"{PIPELINE}/params.yaml", HybridStudy)
DEFAULT: Params = tiny.params()


def start(root: Path, scratch: Path) -> Paths:
    """What the default experiment leaves for the study: patches, validation crops, a network that was never trained."""
    default = Paths(root, scratch)
    io.write_array(default.train, to_uint8(tiny.images(40, DEFAULT.data.patch_size)))
    io.write_array(default.val, to_uint8(tiny.images(2, DEFAULT.data.image_size)))
    io.write_json(default.train_metrics, {"val_psnr_at_0.2": 25.0})
    checkpoint.save(default, tiny.denoiser(), tiny.NETWORK, "float32", "lognormal", 20)
    return Paths(root, scratch, PIPELINE)


def run(stage, paths: Paths, key: str | None = None) -> None:
    """One stage, given what its PARAMS names and nothing else."""
    task = STUDY.runs[key].task if key in STUDY.runs else None
    stage.run(Config(STUDY, tuple(section.format(key=key, task=task) for section in stage.PARAMS), DEFAULT), paths, key)


def shrink(root: Path) -> None:
    """Leave the small study in a project: in its params.yaml, and in the lists of its dvc.yaml."""
    yaml, data = YAML(), params()
    yaml.dump(data, root / PIPELINE / "params.yaml")
    document = yaml.load(root / PIPELINE / "dvc.yaml")
    tasks = {f"data/hybrid/{kind}/{task}" for kind in ("measurements", "dip", "contraction", "classic") for task in TASKS}
    kept = {
        *tasks,
        *(f"data/hybrid/restored/{name}" for name in data["runs"]),
        *(f"data/hybrid/realism/{task}" for task in data["realism"]["tasks"]),
        *(f"data/hybrid/quick/{task}" for task in data["meta"]["tasks"]),
        f"studies/hybrid/priors/{PRIOR}/metrics/train_ddpm",
    }
    kinds = ("measurements", "dip", "contraction", "classic", "quick", "restored", "realism")
    listed = tuple(f"data/hybrid/{kind}/" for kind in kinds)
    for name in ("ablate", "judge"):
        entry = document["stages"][name]
        entry["deps"] = [
            dep for dep in entry["deps"] if not dep.startswith((*listed, "studies/hybrid/priors/")) or dep.rpartition(".")[0] in kept
        ]
    yaml.dump(document, root / PIPELINE / "dvc.yaml")
