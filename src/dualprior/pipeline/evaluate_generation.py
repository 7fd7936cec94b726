"""Risk generated images against real training patches: distances, precision and recall, and a check for copies."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import device
from dualprior.common.io import read_array, read_arrays, read_json, write_figure, write_json
from dualprior.common.params import Evaluate
from dualprior.common.seeding import numpy_generator
from dualprior.evaluation import figures, generation_metrics

if TYPE_CHECKING:
    from dualprior.common.config import Config
    from dualprior.common.paths import Paths

PARAMS = ("evaluate",)
DECIMALS = 4

log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """Writes metrics/generation.json and a plot of the distance against network calls."""
    settings: Evaluate = config.evaluate
    generated, info = read_arrays(paths.generated), read_json(paths.generated_info)
    train, val = read_array(paths.train), read_array(paths.val)
    side = min(train.shape[1], *(images.shape[1] for images in generated.values()))
    generated = {name: _centre(images, side) for name, images in generated.items()}
    train, held_out = _centre(train, side), generation_metrics.tiles(val, side)
    real, others = _two_halves(train, min(map(len, generated.values())), settings.seed)

    extractor = generation_metrics.make_extractor(settings.extractor, settings.inception_weights)
    features = generation_metrics.FeatureReader(extractor, cuda=device.pick().type == "cuda")
    real_features = features(real)
    floor = generation_metrics.distances(features(others), real_features)
    copies = generation_metrics.copy_ratio(held_out, train)
    found = {}
    for name, images in generated.items():
        found[name] = generation_metrics.distances(features(images[: len(real)]), real_features)
        found[name]["copy_ratio"] = generation_metrics.copy_ratio(images, train) / copies
        log.info("%s: %s %.3g (floor %.3g)", name, extractor.distance_name, found[name]["frechet"], floor["frechet"])

    report = {"extractor": extractor.title, "distance": extractor.distance_name, "n": len(real)}
    report["floor"] = _named(floor, extractor.key)
    for name, numbers in found.items():
        cost = {"seconds": round(info[name]["seconds"], 5), "nfe": info[name]["calls"]}
        report[name] = _named(numbers, extractor.key) | cost
    write_json(paths.generation_metrics, report)
    table = pd.DataFrame([info[name] | numbers for name, numbers in found.items()])
    figure = figures.generation_quality(table, floor["frechet"], extractor.distance_name, len(real))
    write_figure(paths.generation_plot, figure)


def _named(numbers: dict[str, float], extractor: str) -> dict[str, float]:
    """Feature distances under the extractor's name, so that no two extractors are ever compared by mistake."""
    pixels = ("copy_ratio",)
    return {name if name in pixels else f"{name}_{extractor}": round(value, DECIMALS) for name, value in numbers.items()}


def _centre(images: np.ndarray, side: int) -> np.ndarray:
    """The middle side × side pixels of each image. images: [n,H,W,3]."""
    top, left = (images.shape[1] - side) // 2, (images.shape[2] - side) // 2
    return images[:, top : top + side, left : left + side]


def _two_halves(train: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random disjoint sets of real patches, `count` in each, or half of what there is."""
    count = min(count, len(train) // 2)
    picks = numpy_generator(seed, "evaluate_generation").permutation(len(train))
    return train[picks[:count]], train[picks[count : 2 * count]]
