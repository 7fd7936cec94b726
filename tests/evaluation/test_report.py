"""Pages from templates: numbers from the metrics, and a sentence that they contradict is named."""

import json
import math

import pytest

from dualprior.common.errors import UserError
from dualprior.evaluation import report

ANSWER = {"value": 0.1234, "lo": -0.2, "hi": 0.4, "n": 16, "unit": "dB"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    """page(text): what a template of this text becomes."""
    for folder in ("metrics", "report", "studies/hybrid/metrics"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "metrics/findings.json").write_text(json.dumps({"gain": {"sr4": ANSWER, "deblur": ANSWER | {"value": -0.004}}}))
    (tmp_path / "metrics/train.json").write_text('{"million_parameters": 0.25}')
    noted = {"a@x": {"seconds": 0.1, "mib": 5}, "a@y": {"seconds": 0.2, "mib": 6}}
    (tmp_path / "metrics/run_statistics.json").write_text(json.dumps(noted))
    (tmp_path / "studies/hybrid/metrics/findings.json").write_text(
        json.dumps({"gain": {"sr4": ANSWER, "400/sr4": ANSWER | {"value": 0.5}}})
    )
    (tmp_path / "studies/hybrid/metrics/train.json").write_text('{"million_parameters": 3.5}')
    monkeypatch.setattr(report, "TEMPLATES", {"page.md": "report/page.md.jinja"})

    def page(text: str) -> str:
        (tmp_path / "report/page.md.jinja").write_text(text)
        return report.render(tmp_path)[tmp_path / "page.md"]

    return page


def test_numbers_come_from_the_metrics_of_the_run_and_of_the_studies(project):
    assert project("{{ found.gain.sr4.value | db }}, {{ studies.hybrid.gain.sr4 | interval }}") == "+0.12, +0.12 [-0.20, +0.40]"
    assert project("{{ found.gain.deblur.value | db }}") == "0.00"  # no sign of a rounded nothing
    assert "| sr4    | +0.12 [-0.20, +0.40] |" in project('{{ by_task(found, {"gain": "gain, dB"}) }}')
    assert "| sr4    | +0.50 [-0.20, +0.40] | +0.12 [-0.20, +0.40] |" in project('{{ by_prior(studies.hybrid, "gain") }}')


def test_a_true_sentence_is_left_alone(project):
    assert project("It gains.{{ above(found.gain.sr4.value, 0) }}{{ below(found.gain.sr4.lo, 0) }}") == "It gains."


def test_a_sentence_that_a_new_run_contradicts_is_named(project):
    with pytest.raises(UserError, match=r"page.md.jinja, line 2: the sentence needs a value above 0 and the metrics say -0.2"):
        project("First.\nIt gains on every crop.{{ above(found.gain.sr4.lo, 0) }}\n")


def test_a_number_that_no_run_made_is_refused(project):
    with pytest.raises(UserError, match="line 1: .*no attribute 'loss'"):
        project("{{ found.loss.sr4 }}")


def test_seconds_are_summed_without_rounding_on_the_way():
    """The sum of ten tenths is 1 in every order and version."""
    run = report.run_statistics({f"a@{i}": {"seconds": 0.1, "mib": 1} for i in range(10)})
    assert run["minutes"] * 60 == math.fsum([0.1] * 10) == 1.0
    assert "`a`" in run["table"]
    assert "10" in run["table"]
