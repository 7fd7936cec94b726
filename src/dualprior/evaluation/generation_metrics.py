"""Distances between two sets of images: Fréchet, kernel, precision and recall, through torch-fidelity.

Inputs -> features -> distance. The features are Inception's where its weights are at hand, else `patch-features`,
a fixed filter bank registered under its own name. Only the 2048 features of Inception make a FID.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import numpy as np
import torch
import torch.nn.functional as F
import torch_fidelity
from torch.utils.data import Dataset
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric
from torch_fidelity.utils import create_feature_extractor, get_featuresdict_from_dataset

from dualprior.common.errors import UserError

PATCH_FEATURES = "patch-features"
NEIGHBOURHOOD = 3  # k of precision and recall (Kynkäänniemi et al. 2019)
KERNEL_SUBSET = 1000  # images in one subset of the kernel distance; smaller sets are taken whole


class PatchFeatures(torch_fidelity.FeatureExtractorBase):
    """60 deterministic statistics of a small image; nothing is learned, nothing is downloaded.

    The image is split into three frequency bands, each half the size of the last (a Laplacian pyramid, Burt and
    Adelson 1983). In every band, 8 fixed orthonormal zero-mean 3×3 colour filters give, pooled over the image:
      log(1 + 255 rms)   how much there is of this texture (wavelet marginals, Portilla and Simoncelli 2000);
      mean|r| / rms      how sparse it is: low where there are edges, 0.8 in Gaussian noise.
    The mean colours of the four quarters tell the layout. Logarithms make a fine band, weak in photographs, count as
    much as a coarse one, so noise, blur and blocking all show; constants bring all features to about zero mean and
    a spread near 1 on photographs, which the kernel distance wants.
    """

    BANDS, FILTERS = 3, 8

    def __init__(self, name, features_list, **_settings):
        super().__init__(name, features_list)
        generator = torch.Generator().manual_seed(0)
        draws = torch.randn(27, self.FILTERS, generator=generator, dtype=torch.float64)
        basis, _ = torch.linalg.qr(draws - draws.mean(0))  # columns orthonormal, and still of zero mean
        self.register_buffer("filters", basis.T.reshape(self.FILTERS, 3, 3, 3).float())

    def forward(self, images):
        """images: uint8 [B,3,H,W], H and W at least 8 -> ([B,60],)."""
        x = images.float() / 255
        features = [4 * (F.adaptive_avg_pool2d(x, 2).flatten(1) - 0.5)]
        for _ in range(self.BANDS):
            small = F.avg_pool2d(x, 2)
            band = x - F.interpolate(small, size=x.shape[-2:], mode="bilinear", align_corners=False)
            response = F.conv2d(F.pad(band, (1, 1, 1, 1), mode="reflect"), self.filters)
            rms = response.square().mean((2, 3)).sqrt()
            sparsity = response.abs().mean((2, 3)) / (rms + 1e-4)
            features += [torch.log1p(255 * rms) - 2, 6 * (sparsity - 0.7)]
            x = small
        return (torch.cat(features, 1),)

    @staticmethod
    def get_provided_features_list():
        return ("60",)

    @staticmethod
    def get_default_feature_layer_for_metric(metric):
        return "60"

    @staticmethod
    def can_be_compiled():
        return False


torch_fidelity.register_feature_extractor(PATCH_FEATURES, PatchFeatures)


@dataclass(frozen=True)
class Extractor:
    """Which features; `title` for people ("Inception-768")."""

    registered: str
    layer: str
    title: str
    weights: str | None = None

    @property
    def distance_name(self) -> str:
        """The Fréchet distance's full name: only the 2048 features of Inception may be called FID."""
        return "FID" if self.title == "Inception-2048" else f"Fréchet distance, {self.title}"


def make_extractor(kind: str, weights: str | None = None) -> Extractor:
    """The extractor of a kind: "patch-features", or "inception" with a weights file (None: torch-fidelity downloads).

    Raises UserError for an unknown kind, or a file that is missing or holds no Inception of torch-fidelity's layout.
    """
    if kind == PATCH_FEATURES:
        return Extractor(PATCH_FEATURES, "60", PATCH_FEATURES)
    if kind != "inception":
        raise UserError(f"evaluate.extractor='{kind}' is unknown; choose {PATCH_FEATURES} or inception")
    layer = "2048" if weights is None else _deepest_layer(Path(weights))
    return Extractor("inception-v3-compat", layer, f"Inception-{layer}", weights)


def _deepest_layer(path: Path) -> str:
    """ "2048" for a whole Inception, "768" where everything after Mixed_6e is zero."""
    if not path.is_file():
        raise UserError(f"evaluate.inception_weights={path} does not exist; name a file, or use extractor: {PATCH_FEATURES}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        last, trunk = (state[f"{block}.branch1x1.conv.weight"] for block in ("Mixed_7c", "Mixed_6e"))
        if not trunk.any():
            raise KeyError("Mixed_6e is zero")
    except Exception as error:  # torch.load has no error class of its own
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise UserError(f"evaluate.inception_weights={path} is no Inception of torch-fidelity's ({reason}); name another file") from None
    return "2048" if last.any() else "768"


class _Images(Dataset):
    def __init__(self, images: np.ndarray):
        self.images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


class FeatureReader:
    """Holds one loaded extractor; call it on uint8 [n,H,W,3] to get features [n,d] float32, row by row independent."""

    def __init__(self, extractor: Extractor, cuda: bool = False):
        self.extractor, self.cuda = extractor, cuda
        settings = {"feature_extractor_weights_path": extractor.weights, "verbose": False}
        try:
            self._network = create_feature_extractor(extractor.registered, [extractor.layer], cuda=cuda, **settings)
        except URLError as error:
            raise UserError(
                f"the Inception weights could not be downloaded ({error.reason}); name a file in evaluate.inception_weights, "
                f"or use extractor: {PATCH_FEATURES}"
            ) from None

    def __call__(self, images: np.ndarray) -> torch.Tensor:
        dataset = _Images(images)
        found = get_featuresdict_from_dataset(dataset, self._network, 64, self.cuda, save_cpu_ram=True, verbose=False)
        return found[self.extractor.layer]


def distances(generated: torch.Tensor, real: torch.Tensor) -> dict[str, float]:
    """{frechet, kernel, precision, recall} of two sets of features, [n,d] and [m,d], n and m at least 4.

    frechet: |mu1 - mu2|² + tr(C1 + C2 - 2 (C1 C2)^(1/2)) (Heusel et al. 2017); biased upwards at small n, so read it
    against real images at the same n. kernel: unbiased polynomial MMD² (Bińkowski et al. 2018), may fall below 0.
    precision, recall: shares inside the other set's 3-nearest-neighbour balls (Kynkäänniemi et al. 2019).
    """
    count = min(len(generated), len(real))
    if count <= NEIGHBOURHOOD:
        raise UserError(f"{count} images are too few to compare two sets; raise generate.images to {NEIGHBOURHOOD + 1} or more")
    statistics = [fid_features_to_statistics(features) for features in (generated, real)]
    with warnings.catch_warnings():  # rank-deficient covariances (few images) give eigenvalues of about -1e-17
        warnings.simplefilter("ignore", RuntimeWarning)
        frechet = fid_statistics_to_metric(*statistics, verbose=False)
    subset = min(count, KERNEL_SUBSET)
    subsets = 1 if len(generated) == len(real) == subset else 100
    kernel = kid_features_to_metric(generated, real, kid_subset_size=subset, kid_subsets=subsets, verbose=False)
    overlap = prc_features_to_metric(generated, real, prc_neighborhood=NEIGHBOURHOOD, verbose=False)
    return {
        "frechet": max(0.0, frechet[torch_fidelity.KEY_METRIC_FID]),
        "kernel": kernel[torch_fidelity.KEY_METRIC_KID_MEAN],
        "precision": overlap[torch_fidelity.KEY_METRIC_PRECISION],
        "recall": overlap[torch_fidelity.KEY_METRIC_RECALL],
    }
