"""Parameters are checked where they enter, and a stage reads only what it declares."""

import copy
from pathlib import Path

import pytest

from dualprior.config import Config, check_params, load_params, read_yaml
from dualprior.errors import UserError

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def params():
    return copy.deepcopy(read_yaml(PROJECT / "params.yaml"))


def put(params: dict, name: str, value) -> None:
    *sections, last = name.split(".")
    for section in sections:
        params = params[section]
    params[last] = value


def test_committed_parameters_are_valid():
    assert load_params(PROJECT / "params.yaml").tasks["denoise25"].sigma_y == pytest.approx(0.196, abs=1e-3)


def test_exponents_without_a_point_are_numbers(tmp_path):
    (tmp_path / "params.yaml").write_text("lr: 2e-05\n")
    assert read_yaml(tmp_path / "params.yaml") == {"lr": 2e-05}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dip.stpes", 3, r"dip\.stpes = 3 is not a parameter; check its spelling"),
        ("dip.steps", "many", r"dip\.steps = 'many': .*integer"),
        ("dip.steps", True, r"dip\.steps = True: .*integer"),
        ("dip.steps", "250", r"dip\.steps = '250': .*integer"),
        ("tasks.denoise25.noise", "25", r"tasks\.denoise25\.noise = '25': .*number"),
        ("tasks.denoise25.noise", True, r"tasks\.denoise25\.noise = True: .*number"),
        ("ddpm.training.lr", float("inf"), r"ddpm\.training\.lr = inf: .*finite"),
        ("ddpm.training.lr", float("nan"), r"ddpm\.training\.lr = nan: .*finite"),
        ("hybrid.start_scales", [1.0, "2"], r"hybrid\.start_scales\.1 = '2': .*number"),
        ("dip.steps", 1, r"dip\.steps = 1: .*greater than or equal to 2"),
        ("dip.snapshots", 10**6, r"dip\.snapshots=1000000 is more than dip\.steps"),
        ("data.image_size", 20, r"data\.image_size = 20: .*multiple of 8"),
        ("data.source", "internet", r"data\.source = 'internet': .*'photos' or 'folder'"),
        ("data.source", "folder", "name the folder"),
        ("ddpm.prediction", "noise", r"ddpm\.prediction = 'noise'"),
        ("ddpm.training.lr", -1, r"ddpm\.training\.lr = -1: .*greater than 0"),
        ("tasks.denoise25.noise", 0, r"tasks\.denoise25: denoising with noise 0 has nothing to restore"),
        ("tasks.sr4.factor", None, "operator block_average needs factor"),
        ("ablate.tasks", ["sr8"], "ablate.tasks names .*'sr8'.*which tasks does not have"),
    ],
)
def test_a_wrong_value_is_one_line_with_name_value_and_rule(params, name, value, message):
    put(params, name, value)
    with pytest.raises(UserError, match=message) as caught:
        check_params(params)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("params.yaml: ")


def test_a_whole_number_is_a_number_and_a_list_a_tuple(params):
    put(params, "tasks.denoise25.noise", 25)
    put(params, "hybrid.start_scales", [1, 2])
    checked = check_params(params)
    assert isinstance(checked.tasks["denoise25"].noise, float)
    assert checked.hybrid.start_scales == (1.0, 2.0)


def test_a_missing_parameter_is_named(params):
    del params["dip"]["lr"]
    with pytest.raises(UserError, match=r"dip\.lr is missing; add it"):
        check_params(params)


def test_several_mistakes_are_counted(params):
    put(params, "dip.steps", "many")
    put(params, "dip.lr", -1)
    with pytest.raises(UserError, match=r"dip\.steps.*\(and 1 more\)"):
        check_params(params)


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1\n", "not valid YAML"), ("a: 1\na: 2\n", "not valid YAML"), ("", "holds no parameters"), ("- 1\n", "holds no parameters")],
)
def test_an_unreadable_file_is_one_line(tmp_path, text, message):
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_yaml(tmp_path / "params.yaml")
    assert "\n" not in str(caught.value)


def test_an_absent_file_says_where_to_run(tmp_path):
    with pytest.raises(UserError, match="does not exist; run from the project's folder"):
        read_yaml(tmp_path / "params.yaml")


def test_reading_an_undeclared_section_is_refused(params):
    config = Config(check_params(params), ("dip", "tasks.sr4"))
    assert config.dip.steps >= 2
    assert config.task("sr4").factor == 4
    with pytest.raises(AttributeError, match="does not declare the parameter section 'ddpm'"):
        config.ddpm  # noqa: B018
    with pytest.raises(AttributeError, match=r"does not declare the parameter section 'tasks\.deblur'"):
        config.task("deblur")


def test_sections_never_read_are_known(params):
    config = Config(check_params(params), ("dip", "ddpm", "tasks.sr4"))
    assert config.unread() == ["ddpm", "dip", "tasks.sr4"]
    config.dip.steps, config.task("sr4")
    assert config.unread() == ["ddpm"]


def test_parameters_cannot_be_changed(params):
    with pytest.raises(ValueError, match="frozen"):
        check_params(params).dip.steps = 3
