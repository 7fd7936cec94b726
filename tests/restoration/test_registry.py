"""The catalogue: every method runs where it applies, blends take what they may, and nobody else knows a method by its name."""

import re
from pathlib import Path

import pytest
import tiny
import torch

from dualprior.degradation import operators
from dualprior.degradation.operators import Operator
from dualprior.degradation.task import Task
from dualprior.restoration import registry, selection
from dualprior.restoration.registry import FROZEN, HYBRID, NO_RANDOM_FIT, REFERENCES, REGISTRY, Method
from dualprior.restoration.selection import choose, restore_all

PROJECT = Path(__file__).parents[2]
PARAMS = tiny.params()
FAMILIES = {"baseline", "diffusion", "dip", "hybrid", "counterpart"}


def problems(task: str, count: int = 2):
    """(validation, test, clean validation images)."""
    return tiny.problem(task, count), tiny.problem(task, count + 1), tiny.images(count)


@pytest.mark.parametrize("task", PARAMS.tasks)
def test_every_method_that_applies_restores_every_image(task):
    val, test, clean = problems(task)
    done = restore_all(val, test, clean, PARAMS.restore, task)
    assert list(done) == list(registry.methods_for(val.measured.op, val.noisy))
    for name, restoration in done.items():
        assert torch.isfinite(restoration.x).all(), name
        assert len(restoration.x) == (PARAMS.restore.ddpm.full_images if REGISTRY[name].few else 3)
        assert restoration.cost.seconds >= 0


def test_only_denoising_tunes_the_denoiser_and_only_noise_is_denoised_by_patches():
    applying = {name: set(registry.methods_for(tiny.problem(name, 1).measured.op, PARAMS.tasks[name].noise > 0)) for name in PARAMS.tasks}
    assert {name for name, methods in applying.items() if "gain_tuning" in methods} == {"denoise25", "denoise50"}
    assert {name for name, methods in applying.items() if "non_local_means" in methods} == {"denoise25", "denoise50", "deblur"}


def test_every_method_has_a_family_a_label_and_a_place_among_the_fits():
    assert len(REGISTRY) <= 16
    for method in REGISTRY.values():
        assert method.family in FAMILIES
        assert method.label
        assert method.fitted in (None, "trained", "random")
        assert (method.fitted is None) == (method.family in ("baseline", "diffusion") or method is REGISTRY[FROZEN])
    assert len({method.label for method in REGISTRY.values()}) == len(REGISTRY)
    assert not REGISTRY.keys() & REFERENCES.keys()


def test_blends_take_exactly_what_may_be_fitted():
    parts = {name: set(registry.parts_of(REGISTRY[name], REGISTRY)) for name in (FROZEN, NO_RANDOM_FIT, HYBRID)}
    single = {name for name, method in REGISTRY.items() if method.blends is None and not method.few and method.family != "baseline"}
    assert parts[HYBRID] == single
    assert parts[FROZEN] == {name for name in single if REGISTRY[name].fitted is None}
    assert parts[NO_RANDOM_FIT] - parts[FROZEN] == {"gain_tuning"}
    assert parts[HYBRID] - parts[NO_RANDOM_FIT] == {name for name in single if REGISTRY[name].fitted == "random"}


def test_settings_are_those_of_best_validation_psnr_round_after_round():
    problem, clean = tiny.problem("denoise25", 2), tiny.images(2)
    tried = []

    def run(problem, past, a, b=0.0):
        tried.append((a, b))
        return registry.Restoration(clean + a + b)

    method = Method("baseline", "offset", run, lambda problem, settings, past: [{"a": [0.4, -0.1, 0.3]}, {"b": [0.0, 0.1, 0.2]}])
    best = choose(method, {}, problem, {}, clean, PARAMS.restore)
    assert best.setting == {"a": -0.1, "b": 0.1}
    assert tried == [(0.4, 0.0), (-0.1, 0.0), (0.3, 0.0), (-0.1, 0.0), (-0.1, 0.1), (-0.1, 0.2)]


def test_a_quick_method_is_timed_three_times_and_the_median_kept():
    seconds = iter([5.0, 1.0, 3.0])
    method = Method("baseline", "still", lambda problem, past: registry.Restoration(torch.zeros(1), next(seconds)))
    assert selection._timed(method, None, {}, {}).seconds == 3.0


def test_a_new_operator_needs_no_other_change(monkeypatch):
    class Upside(operators.Identity):
        """y = the image upside down: a degradation that nobody knows."""

        hides = True

        def A(self, x):
            return x.flip(-2)

        A_adjoint = A_dagger = A

        def prox(self, x0, y, rho):
            return x0 + (self.A(y) - x0) / (1.0 + rho)

        def cheap_start(self, y):
            return self.A(y)

    monkeypatch.setitem(operators.OPERATORS, "upside", Upside)
    task = Task(operator="upside", noise=25)
    val, test = (tiny.problem_of(task, "upside", count) for count in (2, 3))
    done = restore_all(val, test, tiny.images(2), PARAMS.restore, "upside")
    assert {"interpolation", "restart_dip", HYBRID} <= done.keys()
    torch.testing.assert_close(done["interpolation"].x, test.measured.y.flip(-2))


# --- who knows what ----------------------------------------------------------------------------------------


def sources() -> dict[Path, str]:
    return {file: file.read_text() for folder in ("src", "studies") for file in (PROJECT / folder).rglob("*.py")}


def test_no_method_is_called_by_its_name_outside_the_registry():
    names = {*REGISTRY, *REFERENCES} - {"hybrid", "ddpm"}  # also the names of a study and of a sampler
    pattern = re.compile("[\"'](" + "|".join(names) + ")[\"']")
    for file, text in sources().items():
        assert file.name == "registry.py" or not pattern.findall(text), file


def test_no_code_asks_an_operator_for_its_type_or_name():
    kinds = "|".join(kind.__name__ for kind in [Operator, *operators.OPERATORS.values()])
    for file, text in sources().items():
        if file.name in ("operators.py", "operator.py"):
            continue
        assert not re.search(rf"isinstance\([^)]*\b({kinds}|Mask)\b", text), file
        assert not re.search(rf"[\"']({'|'.join(operators.OPERATORS)})[\"']", text), file
