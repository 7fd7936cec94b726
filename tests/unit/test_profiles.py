"""A profile sets values in params.yaml, keeps its comments, and says what it changed."""

import shutil
from pathlib import Path

import pytest
from dualprior.common.config import load_params, read_yaml

from dualprior import profiles
from dualprior.common.errors import UserError

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path):
    shutil.copy(PROJECT / "params.yaml", tmp_path)
    shutil.copytree(PROJECT / "profiles", tmp_path / "profiles")
    return tmp_path


def leaves(tree: dict, prefix: str = "") -> set[str]:
    return {
        name
        for key, value in tree.items()
        for name in (leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}"})
    }


def comments(text: str) -> list[str]:
    return [line.split("#", 1)[1] for line in text.splitlines() if "#" in line]


def test_default_profile_is_the_committed_parameters(project):
    assert profiles.apply(project, "default") == []
    assert (project / "params.yaml").read_bytes() == (PROJECT / "params.yaml").read_bytes()


def test_default_profile_undoes_every_other(project):
    default = leaves(read_yaml(project / "profiles/default.yaml"))
    for name in profiles.names(project):
        assert leaves(read_yaml(project / f"profiles/{name}.yaml")) <= default, name
        profiles.apply(project, name)
    profiles.apply(project, "default")
    assert read_yaml(project / "params.yaml") == read_yaml(PROJECT / "params.yaml")


@pytest.mark.parametrize("name", ["default", "smoke", "gpu"])
def test_a_profile_gives_valid_parameters_and_keeps_the_comments(project, name):
    profiles.apply(project, name)
    load_params(project / "params.yaml")
    assert comments((project / "params.yaml").read_text()) == comments((PROJECT / "params.yaml").read_text())


def test_changes_are_told_one_a_line(project):
    (project / "profiles/mine.yaml").write_text("dip: {steps: 77}\nrestore: {ddpm: {calls: [2, 5]}}\ndata: {source: photos}\n")
    before = load_params(project / "params.yaml")
    calls = ", ".join(map(str, before.restore.ddpm.calls))
    assert profiles.apply(project, "mine") == [f"dip.steps: {before.dip.steps} -> 77", f"restore.ddpm.calls: [{calls}] -> [2, 5]"]
    assert load_params(project / "params.yaml").dip.steps == 77
    assert "  calls: [2, 5]" in (project / "params.yaml").read_text()


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("dip: {stpes: 3}", r"profiles/bad\.yaml: dip\.stpes is not a parameter; dip has .*steps"),
        ("dipp: {steps: 3}", r"profiles/bad\.yaml: dipp is not a parameter; params\.yaml has data"),
        ("dip: 3", "replaces a whole section"),
        ("dip: {steps: many}", r"profiles/bad\.yaml: dip\.steps = 'many'"),
        ("dip: [", "is not valid YAML"),
    ],
)
def test_a_wrong_profile_is_refused_and_changes_nothing(project, overlay, message):
    (project / "profiles/bad.yaml").write_text(overlay)
    with pytest.raises(UserError, match=message):
        profiles.apply(project, "bad")
    assert (project / "params.yaml").read_bytes() == (PROJECT / "params.yaml").read_bytes()


def test_an_unknown_profile_lists_those_there_are(project):
    with pytest.raises(UserError, match="profile 'huge' does not exist; choose one of default, gpu, smoke"):
        profiles.apply(project, "huge")


def test_the_gpu_network_has_more_than_30_million_weights(project):
    from dualprior.diffusion.unet import UNet

    profiles.apply(project, "gpu")
    network = load_params(project / "params.yaml").ddpm.network
    assert sum(p.numel() for p in UNet(**network.model_dump()).parameters()) > 30e6
