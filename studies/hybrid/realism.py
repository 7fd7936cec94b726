"""realism@task: stochastic restorations at several numbers of network calls: restarts, chains from noise, full chains.

Samples that should look like photographs, not their mean. The noise of a step is DDPM's own or all fresh (zeta = 1): where
much is missing, DDPM's alone does not bring what is known and what is not into harmony (Lugmayr et al. 2022). For every
kind of start validation crops choose, by the Fréchet distance, the noise and how far above its own error a restart begins.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import torch

from dualprior.common import device, io
from dualprior.common.params import Evaluate, Restore
from dualprior.data.pixels import to_uint8
from dualprior.data.validation import overall_rmse
from dualprior.evaluation import generation_metrics
from dualprior.restoration import diffusion_methods as diffusion
from dualprior.restoration.baselines import interpolation
from dualprior.restoration.problem import Problem, Restoration, with_error
from studies.hybrid import problems
from studies.hybrid.params import Realism

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("realism", "restore", "evaluate")
Setting = TypeVar("Setting")


class PerceptualQuality:
    """Fréchet distance of the quarters of restored crops to those of clean ones; `name` says by which features."""

    def __init__(self, settings: Evaluate, clean: np.ndarray):
        """clean: uint8 [n, H, W, 3]."""
        extractor = generation_metrics.make_extractor(settings.extractor, settings.inception_weights)
        self.name = extractor.distance_name
        self._features = generation_metrics.FeatureReader(extractor, cuda=device.pick().type == "cuda")
        self._clean = self._features(self._quarters(clean))

    def __call__(self, restored) -> float:
        """restored: [n, 3, H, W] in [-1, 1]."""
        return generation_metrics.distances(self._features(self._quarters(to_uint8(restored))), self._clean)["frechet"]

    @staticmethod
    def _quarters(images: np.ndarray) -> np.ndarray:
        """uint8 [n, 2s, 2s, 3] to [4n, s, s, 3]."""
        return generation_metrics.tiles(images, images.shape[1] // 2)


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    wanted: Realism = config.realism
    restore: Restore = config.restore
    evaluate: Evaluate = config.evaluate
    val, test, clean_val = problems.load(config, paths, key, wanted.images)
    quality, weight = PerceptualQuality(evaluate, io.read_array(paths.split("val"))), restore.data_weight
    cheap = {split: interpolation(given, {}) for split, given in (("val", val), ("test", test))}
    error = overall_rmse(cheap["val"].x, clean_val)
    starts = {
        "restart from the DIP": [problems.stopped_dip(val, given, clean_val) for given in (val, test)],
        "restart from a cheap start": [with_error(cheap[split], error) for split in ("val", "test")],
    }
    done: dict[str, Restoration] = {}
    for name, (val_start, start) in starts.items():
        ways = list(product(wanted.scales, wanted.zetas))
        best = nearest({way: restarted(val, val_start, wanted.chosen_at, weight, *way) for way in ways}, quality)
        done |= {f"{name}@{calls}": restarted(test, start, calls, weight, *best) for calls in wanted.calls}
    chains = {zeta: diffusion.chain(val, {}, wanted.chosen_at, zeta, weight, purpose="realism") for zeta in wanted.zetas}
    zeta = nearest(chains, quality)
    for calls in (*wanted.calls, wanted.full):
        done[f"chain from noise@{calls}"] = diffusion.chain(test, {}, calls, zeta, weight, purpose="realism")
    io.write_tensors(paths.folder("realism") / key / "images.safetensors", {name: each.x.half() for name, each in done.items()})
    io.write_json(paths.folder("realism") / key / "costs.json", {name: vars(each.cost) for name, each in done.items()})


def restarted(whole: Problem, start: Restoration, calls: int, data_weight: float, scale: float, zeta: float | None) -> Restoration:
    """Variance-matched restart at scale * the start's error, with noise that is drawn afresh."""
    level = diffusion.start_level(whole, start, scale)
    return diffusion.restart_at(whole, start, level, start.error, calls, data_weight, zeta, "realism")


def nearest(tried: dict[Setting, Restoration], quality: PerceptualQuality) -> Setting:
    """The setting whose restorations are most like clean validation crops."""
    return min(tried, key=lambda setting: quality(tried[setting].x))
