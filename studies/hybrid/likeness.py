"""How like clean photographs a set of restorations is, whatever it shows of the one at hand."""

import numpy as np

from dualprior.common import device
from dualprior.common.params import Evaluate
from dualprior.data.pixels import to_uint8
from dualprior.evaluation import generation_metrics


class Likeness:
    """Fréchet distance of the quarters of restored crops to those of clean ones; `name` says by which features."""

    def __init__(self, settings: Evaluate, clean: np.ndarray):
        """clean: uint8 [n, H, W, 3]."""
        extractor = generation_metrics.make_extractor(settings.extractor, settings.inception_weights)
        self.name = extractor.distance_name
        self._features = generation_metrics.FeatureReader(extractor, cuda=device.pick().type == "cuda")
        self._clean = self._features(_quarters(clean))

    def __call__(self, restored: np.ndarray) -> float:
        """restored: [n, 3, H, W] in [-1, 1]."""
        return generation_metrics.distances(self._features(_quarters(to_uint8(restored))), self._clean)["frechet"]


def _quarters(images: np.ndarray) -> np.ndarray:
    """uint8 [n, 2s, 2s, 3] to [4n, s, s, 3]."""
    return generation_metrics.tiles(images, images.shape[1] // 2)
