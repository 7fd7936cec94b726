"""A project in a temporary folder: its YAML files only, or a finished smoke run of the whole."""

import importlib
import shutil
import signal
import sys
from types import SimpleNamespace

import pytest
from workspace import PROJECT, Outcome, new_workspace


@pytest.fixture(scope="session")
def smoke(tmp_path_factory):
    """The whole pipeline, really run once on the smoke profile and committed; read it, do not change it."""
    workspace = new_workspace(tmp_path_factory.mktemp("smoke"))
    workspace.cli("profile", "smoke")
    workspace.commit()
    outcome = workspace.dvc("repro")
    workspace.commit()
    return workspace, outcome


@pytest.fixture
def little(tmp_path, monkeypatch):
    """A project of YAML files only; the current folder. Signals, imports and environment are put back."""
    for file in [PROJECT / "params.yaml", PROJECT / "dvc.yaml", *PROJECT.glob("profiles/*"), *PROJECT.glob("studies/*/*.yaml")]:
        (tmp_path / file.relative_to(PROJECT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, tmp_path / file.relative_to(PROJECT))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("DVC_ROOT", "DUALPRIOR_THREADS"):
        monkeypatch.delenv(name, raising=False)
    before = signal.getsignal(signal.SIGTERM)
    yield tmp_path
    signal.signal(signal.SIGTERM, before)


@pytest.fixture
def cli(little, capsys):
    """Call the command line in this process, in the little project."""
    module = importlib.import_module("cli")

    def call(*arguments: str) -> Outcome:
        code = module.main(list(arguments))
        return Outcome(code, *capsys.readouterr())

    return call


@pytest.fixture
def stage(monkeypatch):
    """Let `run` stand in for a stage: stage("degrade", run)."""
    import cli as module

    def replace(name: str, run, params: tuple[str, ...] = ()) -> None:
        real = module._stage_module
        stand_in = SimpleNamespace(run=run, PARAMS=params)
        monkeypatch.setattr(module, "_stage_module", lambda stage, study: stand_in if stage == name else real(stage, study))

    return replace
