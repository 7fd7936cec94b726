"""How like clean photographs a set of restorations is, whatever it shows of the one at hand."""

import numpy as np

from dualprior import device, fidelity
from dualprior.images import to_uint8
from dualprior.settings.evaluate import Evaluate


class Likeness:
    """Fréchet distance of the quarters of restored crops to those of clean ones; `name` says by which features."""

    def __init__(self, settings: Evaluate, clean: np.ndarray):
        """clean: uint8 [n, H, W, 3]."""
        extractor = fidelity.make_extractor(settings.extractor, settings.inception_weights)
        self.name = extractor.distance_name
        self._features = fidelity.FeatureReader(extractor, cuda=device.pick().type == "cuda")
        self._clean = self._features(_quarters(clean))

    def __call__(self, restored: np.ndarray) -> float:
        """restored: [n, 3, H, W] in [-1, 1]."""
        return fidelity.distances(self._features(_quarters(to_uint8(restored))), self._clean)["frechet"]


def _quarters(images: np.ndarray) -> np.ndarray:
    """uint8 [n, 2s, 2s, 3] to [4n, s, s, 3]."""
    return fidelity.tiles(images, images.shape[1] // 2)
