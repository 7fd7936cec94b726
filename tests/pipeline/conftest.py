"""A project in a temporary folder: its two YAML files only, or a finished smoke run of the whole."""

import importlib
import shutil
import signal

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
    """A project of params.yaml, dvc.yaml and profiles only; the current folder. Signals and environment are put back."""
    for name in ("params.yaml", "dvc.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    shutil.copytree(PROJECT / "profiles", tmp_path / "profiles")
    monkeypatch.chdir(tmp_path)
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
