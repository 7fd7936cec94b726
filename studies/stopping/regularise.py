"""regularise@problem: fits with an extra term in the loss, on one noise: does the term lift what the stopped fit reaches?

The split and the stopping rule are those of the plain fits. Each term's weight is chosen on validation images; the clean
validation images are the only ones read.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.seeding import ImageNoise, generator
from dualprior.data.pixels import to_unit
from dualprior.degradation.data_consistency import proximal
from dualprior.degradation.measurement import Measurement
from dualprior.diffusion import checkpoint
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.dip import fit as dip
from dualprior.dip import paired_fits
from dualprior.dip.risk import recorrupted_split
from dualprior.restoration.problem import mean_psnr, read_measurement
from studies.stopping import regularisers
from studies.stopping.crops import chosen
from studies.stopping.params import Fitting, Images, Problem, Regularise

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("images", "fitting", "regularise", "networks", "problems.{key}")
EVERY = 5  # steps between two looks of the stopping rule
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem."""
    images: Images = config.images
    fitting: Fitting = config.fitting
    settings: Regularise = config.regularise
    problem: Problem = config.entry("problems", key)
    where = device.pick()
    model = checkpoint.load(paths.default.models, where)
    recipe = dip.Recipe.of(fitting.model_dump(), config.networks[settings.network].model_dump())
    index = chosen(io.read_table(paths.default.manifest), "val", images)["index"].tolist()
    clean = to_unit(io.read_array(paths.default.split("val")))[index].to(where)
    val, test = (read_measurement(paths.measurements(key), problem, split, where) for split in ("val", "test"))
    fit = partial(_stopped, settings=settings, fitting=fitting, recipe=recipe, model=model)
    tensors, info = {}, {}
    for term, weights in settings.weights.items():
        scores = {weight: mean_psnr(fit(val, term, weight)[0], clean) for weight in weights}
        best = max(scores, key=scores.get)
        image, steps, seconds = fit(test, term, best)
        tensors[term] = image.half()
        info[term] = {"weight": best, "stop_step": steps, "seconds": seconds}
        log.info("%s with %s at %g: validation %.2f dB, %.2f s an image", key, term, best, scores[best], seconds)
    io.write_tensors(paths.folder("regularised") / key / "images.safetensors", tensors)
    io.write_json(paths.folder("regularised") / key / "info.json", info)


def _stopped(
    measured: Measurement, term: str, weight: float, *, settings: Regularise, fitting: Fitting, recipe: dip.Recipe, model: TrainedModel
) -> tuple[Tensor, list[int], float]:
    """The stopped mean of the paired fits, its steps, and seconds an image."""
    n = len(measured.y)
    noise = ImageNoise(fitting.seed, "witness", measured.names)
    risk = recorrupted_split(measured.op, measured.y, measured.sigma_y, fitting.split_alpha, noise)
    names = paired_fits.paired_names(measured.names)
    rule = paired_fits.stopped_by(risk, settings.patience)
    with Stopwatch(n) as watch:
        extra = _extra(term, weight, measured, risk.y, names, settings, fitting, model)
        op = measured.op[paired_fits.paired_index(n)]
        steps = dip.fit_images(recipe, op, risk.y, names, measured.size, settings.steps, device=measured.y.device, extra=extra)
        for done in steps:
            if done.step % EVERY == 0:
                rule.update(paired_fits.show(done.step, done.output, done.average, done.loss))
    return rule.stop.image, rule.stop.step.tolist(), watch.seconds


def _extra(
    term: str,
    weight: float,
    measured: Measurement,
    y: Tensor,
    names: list[str],
    settings: Regularise,
    fitting: Fitting,
    model: TrainedModel,
) -> dip.Extra | None:
    """The term of that name for the 2n fits to y."""
    if term == "none":
        return None
    level = measured.sigma_y * (1 + fitting.split_alpha**2) ** 0.5  # the noise of what is fitted
    if term == "perceptual":
        noise = ImageNoise(fitting.seed, "perceptual", names)
        return regularisers.perceptual(regularisers.encoder_features(model.denoise), y, weight, level, noise)
    if term == "adversarial":
        rngs = [generator(fitting.seed, "adversary", name) for name in names]
        return regularisers.PatchAdversary(y, weight, level, rngs, generator(fitting.seed, "adversary-noise"))
    error = measured.sigma_y / 2  # about the error of a fit near its peak
    data_consistency = None
    if term == "conditional":
        step = proximal(measured.op[paired_fits.paired_index(len(measured.y))], y, level)
        data_consistency = partial(step, sigma=torch.full((1, 1, 1, 1), error, device=y.device))
    return regularisers.denoiser_pull(model.denoise, weight, error, settings.refresh, data_consistency)
