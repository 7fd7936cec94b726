"""Stage: restore the test images of one task with every method of the catalogue.

Every setting is chosen on validation images; the only clean images this stage reads are those. The clean test images
are not among its dependencies.
"""

import itertools
import logging
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from dualprior import artifacts, device, problem
from dualprior.artifacts import Paths
from dualprior.config import DIP, Config
from dualprior.device import PRECISIONS
from dualprior.images import to_unit
from dualprior.methods import Method, catalogue
from dualprior.problem import CoupledSettings, Estimate, Problem, rmse

PARAMS = ("restore", "hybrid", "dip", "tasks.{key}")
log = logging.getLogger(__name__)


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    where, seed = device.pick(), config.restore.seed
    clean = to_unit(artifacts.read_array(paths.val)).to(where)
    val, test = (problem.load(paths, key, config.task(key), split, seed, where) for split in ("val", "test"))
    few = problem.first(test, config.restore.full.images)
    coupled = coupled_settings(config, val, clean)
    _warm_up(test)
    done_val, done = {}, {}
    for name, method in catalogue(val, config.restore, config.hybrid, coupled).items():
        if method.test_only:
            _warm_up(few)
            done[name] = method.run(few, done_val, **{k: v[0] for k, v in method.rounds[0].items()})
            continue
        best = choose(method, val, done_val, clean)
        spread = rmse(best.x, clean).square().mean().sqrt()  # one number, from validation images
        done_val[name] = _with_error(best, spread)
        done[name] = _with_error(replace(method.run(test, done, **best.setting), setting=best.setting), spread)
        log.info("%s: %s chose %s, %.2f dB on validation", key, name, best.setting or "nothing", _psnr(best.x, clean))
    methods = catalogue(test, config.restore, config.hybrid, coupled)
    _write(paths, key, config.restore.seed, methods, done)


def _warm_up(given: Problem) -> None:
    """One call at the shapes that are about to be timed."""
    given.denoise(given.blank(), 1.0)


def coupled_settings(config: Config, val: Problem, clean: Tensor) -> CoupledSettings:
    """The DIP's settings with the denoiser's; the expected error at each snapshot comes from validation images."""
    dip: DIP = config.dip
    errors = [float(rmse(x, clean).square().mean().sqrt()) for x in val.fits.snapshots]
    return CoupledSettings(
        **config.hybrid.coupled.model_dump(),
        seed=dip.seed,
        kind=dip.network.kind,
        network=dip.network.model_dump(exclude={"kind"}),
        lr=dip.lr,
        input_noise=dip.input_noise,
        input_cell=dip.input_cell,
        ema=dip.ema,
        autocast=PRECISIONS[dip.precision],
        expected_error=tuple(zip(val.fits.steps, errors, strict=True)),
    )


def choose(method: Method, val: Problem, past: dict[str, Estimate], clean: Tensor) -> Estimate:
    """The best of the method's settings by mean PSNR on validation images, round after round."""
    best, best_score = None, float("-inf")
    held: dict = {}
    for values in method.rounds:
        for setting in _combinations({**{k: [v] for k, v in held.items()}, **values}):
            if best is not None and setting == best.setting:
                continue
            estimate = replace(method.run(val, past, **setting), setting=setting)
            score = _psnr(estimate.x, clean)
            if score > best_score:
                best, best_score = estimate, score
        held = best.setting
    return best


def _combinations(values: dict[str, list]) -> Iterator[dict]:
    for row in itertools.product(*values.values()):
        yield dict(zip(values, row, strict=True))


def _psnr(x: Tensor, clean: Tensor) -> float:
    return float((20 * torch.log10(2 / rmse(x, clean))).mean())


def _with_error(estimate: Estimate, spread: Tensor) -> Estimate:
    """Keep a witness's own error; otherwise expect what was seen on validation images."""
    if estimate.error is not None:
        return estimate
    return replace(estimate, error=spread.expand(len(estimate.x)))


def _write(paths: Paths, key: str, seed: int, methods: dict[str, Method], done: dict[str, Estimate]) -> None:
    artifacts.write_tensors(paths.restored(key), {name: e.x.float() for name, e in done.items()})
    rows = {
        name: {
            "label": methods[name].label,
            "seconds": e.seconds,
            "nfe": e.nfe,
            "iterations": e.iterations,
        }
        for name, e in done.items()
    }
    choices = {name: e.setting for name, e in done.items() if e.setting}
    artifacts.write_json(paths.restored_info(key), {"seed": seed, "methods": rows, "choices": choices})
