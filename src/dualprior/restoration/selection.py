"""Run every method of the catalogue on one task, each setting chosen on validation images."""

import itertools
import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from dualprior.common.device import Pace
from dualprior.common.params import Restore
from dualprior.common.progress import track
from dualprior.data.validation import mean_psnr, overall_rmse
from dualprior.restoration.problem import Problem, Restoration, with_error
from dualprior.restoration.registry import Method, learn, methods_for

REPEAT_BELOW = 1.0  # seconds
log = logging.getLogger(__name__)


@torch.no_grad()
def restore_all(val: Problem, test: Problem, clean_val: Tensor, settings: Restore, name: str) -> dict[str, Restoration]:
    """{method: its restoration of the test images}, each with the setting chosen; clean_val: [n, C, H, W].

    The predicted error is a method's own estimate, or the RMSE that it has on validation images.
    """
    methods = methods_for(val.measured.op, val.noisy)
    if settings.ddpm.full_images == 0:
        methods = {name: method for name, method in methods.items() if not method.few}
    done_val: dict[str, Restoration] = {}
    done: dict[str, Restoration] = {}
    _warm_up(test)
    Pace(lambda: test.denoise(test.blank(), 1.0), f"restore {name}")
    for key, method in track(list(methods.items()), f"restore {name}"):
        if method.few:
            (setting,) = _combinations(method.rounds(test, settings, done)[0])
            few = test.first(settings.ddpm.full_images)
            _warm_up(few)
            done[key] = _timed(method, few, done, setting)
            continue
        best = choose(method, methods, val, done_val, clean_val, settings)
        expected = overall_rmse(best.x, clean_val)  # one number, from validation images
        done_val[key] = with_error(best, expected)
        done[key] = with_error(_timed(method, test, done, best.setting), expected)
        log.info("%s: %s %.2f dB on validation", name, key, mean_psnr(best.x, clean_val))
    return done


def _timed(method: Method, test: Problem, past: Mapping[str, Restoration], setting: dict) -> Restoration:
    """The restoration; of a quick one, that of median seconds of three equal runs."""
    begin = time.perf_counter()
    runs = [method.run(test, past, **setting)]
    if time.perf_counter() - begin < REPEAT_BELOW:
        runs += [method.run(test, past, **setting) for _ in range(2)]
    return replace(sorted(runs, key=lambda run: run.cost.seconds)[len(runs) // 2], setting=setting)


def _warm_up(given: Problem) -> None:
    """One call at the shapes that are about to be timed."""
    given.denoise(given.blank(), 1.0)


def choose(
    method: Method, methods: Mapping[str, Method], val: Problem, past: Mapping[str, Restoration], clean: Tensor, settings: Restore
) -> Restoration:
    """What the method learns from validation images, or the best of its settings by mean PSNR there, round after round."""
    if method.blends is not None:
        setting = learn(method, methods, past, clean)
        return replace(method.run(val, past, **setting), setting=setting)
    best, best_score = None, float("-inf")
    held: dict = {}
    for values in method.rounds(val, settings, past):
        for setting in _combinations({**{k: [v] for k, v in held.items()}, **values}):
            if best is not None and setting == best.setting:
                continue
            restoration = replace(method.run(val, past, **setting), setting=setting)
            score = mean_psnr(restoration.x, clean)
            if score > best_score:
                best, best_score = restoration, score
        held = best.setting
    return best


def _combinations(values: dict[str, list]) -> Iterator[dict]:
    for row in itertools.product(*values.values()):
        yield dict(zip(values, row, strict=True))
