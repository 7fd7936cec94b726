"""How to weigh several restorations of one image: weights learned from their errors on validation images.

Of two restorations the best weights have a closed form (Bates & Granger 1969; `studies/theory`).
"""

from collections.abc import Mapping

import numpy as np
from scipy.optimize import minimize
from torch import Tensor

from dualprior.data.validation import rmse
from dualprior.restoration.problem import Problem, Restoration

SMALLEST_WEIGHT = 0.1  # what weighs less is left out, so that it need not be computed


def weighted_mean(weights: Mapping[str, float], values: Mapping[str, Tensor]) -> Tensor:
    """sum of weights[name] * values[name]; values may hold more."""
    return sum(weight * values[name] for name, weight in weights.items())


def simplex_weights(grams: np.ndarray) -> np.ndarray:
    """Weights >= 0 of sum 1 with the highest mean PSNR over images: [k].

    grams: [n, k, k], for every image the mean products of the k errors. Minimises mean_i log(w' G_i w) by sequential
    quadratic programming (Kraft 1988) from the best single restoration.
    """
    count = grams.shape[-1]
    logs = np.log(np.diagonal(grams, axis1=1, axis2=2)).mean(0)
    start = np.eye(count)[logs.argmin()]

    def loss(w: np.ndarray) -> float:
        return float(np.log(np.einsum("k,nkj,j->n", w, grams, w)).mean())

    def slope(w: np.ndarray) -> np.ndarray:
        pulled = grams @ w
        return (2 * pulled / (pulled @ w)[:, None]).mean(0)

    whole = {"type": "eq", "fun": lambda w: w.sum() - 1, "jac": lambda w: np.ones(count)}
    # from a corner the search may stay there, so it begins a little inside
    found = minimize(loss, 0.9 * start + 0.1 / count, jac=slope, bounds=[(0, 1)] * count, constraints=[whole], method="SLSQP")
    weights = np.clip(found.x, 0, 1) / np.clip(found.x, 0, 1).sum()
    return weights if loss(weights) <= loss(start) else start


def learn_weights(restored: Mapping[str, Tensor], clean: Tensor) -> dict[str, float]:
    """Weights of the restorations, rounded to hundredths, without those below `SMALLEST_WEIGHT`; of sum 1.

    restored: {name: [n, C, H, W]}; clean: validation images [n, C, H, W].
    """
    names = list(restored)
    errors = np.stack([(x - clean).flatten(1).double().cpu().numpy() for x in restored.values()], axis=1)
    grams = errors @ errors.transpose(0, 2, 1) / errors.shape[-1]
    weights = simplex_weights(grams)
    while weights.min() < SMALLEST_WEIGHT:  # the lightest goes, the others are weighed anew
        kept = np.delete(np.arange(len(names)), weights.argmin())
        names, grams = [names[k] for k in kept], grams[:, kept][:, :, kept]
        weights = simplex_weights(grams)
    rounded = {name: round(weight, 2) for name, weight in zip(names, weights.tolist(), strict=True)}
    rest = 1 - sum(rounded.values())
    largest = max(rounded, key=rounded.__getitem__)
    return rounded | {largest: round(rounded[largest] + rest, 2)}


def learn_blend(parts: Mapping[str, Restoration], clean: Tensor) -> dict:
    """Setting of `blended`: weights by validation images, and the blend's error as a share of the parts' own.

    parts: restorations of the validation images, with their predicted errors; clean: those images.
    """
    weights = learn_weights({name: part.x for name, part in parts.items()}, clean)
    x, expected = (weighted_mean(weights, {name: getattr(parts[name], of) for name in weights}) for of in ("x", "error"))
    share = float((rmse(x, clean).square().mean() / expected.square().mean()).sqrt())
    return {"weights": weights, "share": round(share, 4)}


def blended(problem: Problem, past: Mapping[str, Restoration], weights: dict[str, float], share: float) -> Restoration:
    """The weighted mean of several restorations; share: its error as a part of the weighted mean of theirs."""
    parts = {name: past[name] for name in weights}
    x, error = (weighted_mean(weights, {name: getattr(part, of) for name, part in parts.items()}) for of in ("x", "error"))
    return Restoration(x, error=share * error).after(*parts.values())
