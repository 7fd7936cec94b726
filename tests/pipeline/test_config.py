"""Parameters are checked where they enter, and a stage reads only what it declares."""

import copy
from pathlib import Path

import pytest

from dualprior.common.errors import UserError
from dualprior.pipeline.config import Config, check_params, load_config, load_params, read_yaml
from studies.stopping.params import Params as StoppingStudy

PROJECT = Path(__file__).parents[2]
STOPPING = "studies/stopping"


@pytest.fixture
def params():
    return copy.deepcopy(read_yaml(PROJECT / "params.yaml"))


@pytest.fixture
def study():
    return read_yaml(PROJECT / STOPPING / "params.yaml")


def check_study(data: dict) -> StoppingStudy:
    return check_params(data, f"{STOPPING}/params.yaml", StoppingStudy)


def put(params: dict, name: str, value) -> None:
    *sections, last = name.split(".")
    for section in sections:
        params = params[section]
    params[last] = value


def test_committed_parameters_are_valid():
    assert load_params(PROJECT)[0].tasks["denoise25"].sigma_y == pytest.approx(0.196, abs=1e-3)


def test_exponents_without_a_point_are_numbers(tmp_path):
    (tmp_path / "params.yaml").write_text("lr: 2e-05\n")
    assert read_yaml(tmp_path / "params.yaml") == {"lr": 2e-05}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dip.stpes", 3, r"dip\.stpes = 3 is not a parameter; did you mean 'steps'\? Else check its spelling"),
        ("dip.steps", "many", r"dip\.steps = 'many': .*integer"),
        ("dip.steps", True, r"dip\.steps = True: .*integer"),
        ("dip.steps", "250", r"dip\.steps = '250': .*integer"),
        ("tasks.denoise25.noise", "25", r"tasks\.denoise25\.noise = '25': .*number"),
        ("tasks.denoise25.noise", True, r"tasks\.denoise25\.noise = True: .*number"),
        ("ddpm.training.lr", float("inf"), r"ddpm\.training\.lr = inf: .*finite"),
        ("ddpm.training.lr", float("nan"), r"ddpm\.training\.lr = nan: .*finite"),
        ("restore.restart.start_scales", [1.0, "2"], r"restore\.restart\.start_scales\.1 = '2': .*number"),
        ("dip.steps", 1, r"dip\.steps = 1: .*greater than or equal to 2"),
        ("dip.least_step", 301, r"dip\.least_step=301 is more than dip\.steps"),
        ("dip.networks", {"box": {}}, r"dip\.networks\.box"),
        ("dip.snapshots", 10**6, r"dip\.snapshots=1000000 is more than dip\.steps"),
        ("data.image_size", 20, r"data\.image_size = 20: .*multiple of 8"),
        ("data.source", "internet", r"data\.source = 'internet': .*'photos', 'folder'"),
        ("data.source", "folder", "name what to read"),
        ("ddpm.prediction", "noise", r"ddpm\.prediction = 'noise'"),
        ("ddpm.training.lr", -1, r"ddpm\.training\.lr = -1: .*greater than 0"),
        ("tasks.denoise25.noise", 0, r"tasks\.denoise25: denoising with noise 0 has nothing to restore"),
        ("tasks.sr4.factor", None, "operator block_average: factor: input should be a valid integer"),
        ("tasks.sr4.box", 3, "operator block_average: box: extra inputs are not permitted"),
        ("tasks.deblur.blur_std", 1e9, "operator gaussian_blur: blur_std: input should be less than or equal to 100"),
        ("tasks.deblur.operator", "gausian_blur", "did you mean 'gaussian_blur'"),
        ("data.train_patches", 1, r"data\.train_patches = 1: .*greater than or equal to 16"),
        ("data.folder", "mine", "data.source is 'photos' but data.folder names mine"),
        (
            "ddpm.network",
            {"channels": 8, "multipliers": [1] * 5, "blocks": 1, "patch": 4},
            "multiples of 64 pixels, too many for data.patch_size=32",
        ),
        (
            "ddpm.schedule.timesteps",
            10,
            r"tasks\.deblur\.noise=5 is noise level 0\.0392 in \[-1, 1\] units, and ddpm\.schedule has 0\.0418",
        ),
        ("tasks.denoise50.noise", 0.01, r"tasks\.denoise50\.noise=0\.01 is noise level"),
        ("tasks.sr4.noise", 0.5, r"tasks\.sr4\.noise=0\.5 is noise level"),
        ("generate.calls", [2000], r"generate\.calls=2000 is more than ddpm\.schedule\.timesteps=1000"),
        ("tasks", {5: {"operator": "identity", "noise": 25}}, "tasks.5"),
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
    put(params, "restore.restart.start_scales", [1, 2])
    checked = check_params(params)
    assert isinstance(checked.tasks["denoise25"].noise, float)
    assert checked.restore.restart.start_scales == (1.0, 2.0)


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
    config = Config([check_params(params)], ("dip", "tasks.sr4"))
    assert config.dip.steps >= 2
    assert config.entry("tasks", "sr4").settings.factor == 4
    with pytest.raises(AttributeError, match="does not declare the parameter section 'ddpm'"):
        config.ddpm  # noqa: B018
    with pytest.raises(AttributeError, match=r"does not declare the parameter section 'tasks\.deblur'"):
        config.entry("tasks", "deblur")


def test_sections_never_read_are_known(params):
    config = Config([check_params(params)], ("dip", "ddpm", "tasks.sr4"))
    assert config.unread() == ["ddpm", "dip", "tasks.sr4"]
    config.dip.steps, config.entry("tasks", "sr4")
    assert config.unread() == ["ddpm"]


def test_parameters_cannot_be_changed(params):
    with pytest.raises(ValueError, match="frozen"):
        check_params(params).dip.steps = 3


# --- entries of a section ----------------------------------------------------------------------------------


def test_an_entry_is_read_where_it_is_declared(params):
    config = Config([check_params(params)], ("tasks.sr4",))
    assert config.entry("tasks", "sr4").settings.factor == 4
    assert config.unread() == []


def test_an_entry_is_read_where_its_whole_section_is_declared(params):
    config = Config([check_params(params)], ("tasks",))
    assert config.entry("tasks", "sr4").settings.factor == 4
    assert config.unread() == []


def test_an_undeclared_entry_is_refused_beside_a_declared_one(params):
    config = Config([check_params(params)], ("tasks.sr4",))
    with pytest.raises(AttributeError, match=r"does not declare the parameter section 'tasks\.deblur'"):
        config.entry("tasks", "deblur")
    assert config.unread() == ["tasks.sr4"]


@pytest.mark.parametrize("declared", ["tasks", "tasks.sr8"])
def test_an_entry_that_does_not_exist_is_a_mistake_of_the_users(params, declared):
    config = Config([check_params(params)], (declared,))
    with pytest.raises(UserError, match=r"^task 'sr8' is not in params.yaml; did you mean 'sr4'\? "):
        config.entry("tasks", "sr8")


# --- the study of stopping rules ---------------------------------------------------------------------------


def test_the_committed_parameters_of_the_study_are_valid(study):
    checked = check_study(study)
    assert checked.problems["gaussian25"].sigma_y == pytest.approx(2 * 25 / 255)
    assert checked.fits["gaussian25"]["skip"].plain


def test_a_study_has_a_config_of_its_own_sections():
    config = load_config(PROJECT, ("rules", "fits", "networks.unet"), "stopping")
    assert config.rules.window >= 2
    assert config.entry("networks", "unet").kind == "unet"
    assert config.fits["sr4"]["skip"].network == "skip"
    with pytest.raises(AttributeError, match="does not declare the parameter section 'images'"):
        config.images  # noqa: B018
    with pytest.raises(AttributeError, match="dip"):
        config.dip  # noqa: B018


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("fits.sr8", {}, "fits and problems are to have the same names; only one of them has sr8"),
        ("fits.sr4.skip.network", "resnet", "fits.sr4.skip names the network resnet; networks has skip, "),
        ("problems.gaussian25.noise", 0, r"problems\.gaussian25: denoising with noise 0 has nothing to restore"),
        ("problems.clean.leaks", False, r"problems\.clean: denoising with noise 0 has nothing to restore"),
        ("fits.clean.annealing_literal.whole", False, r"fits\.clean\.annealing_literal: literal annealing is fitted to the whole"),
        ("fits.gaussian50.annealing_input.input_scale", 3, r"annealing sets the noise on the input itself; leave input_scale out"),
        ("fits.sr4.skip.split", "both", r"fits\.sr4\.skip\.split = 'both': .*'recorrupted', 'held_out' or 'none'"),
        ("networks.unet.skip_channels", 4, r"networks\.unet: skip_channels belongs to kind skip"),
        ("rules.patiences", [], r"rules\.patiences = \[\]: .*at least 1 item"),
        ("fitting.hold_out", 0.5, r"fitting\.hold_out = 0\.5: .*less than 0\.5"),
        ("images.tset", 3, r"images\.tset = 3 is not a parameter; did you mean 'test'\? Else check its spelling"),
    ],
)
def test_a_wrong_value_of_the_study_is_one_line_with_the_file_and_the_rule(study, name, value, message):
    put(study, name, value)
    with pytest.raises(UserError, match=message) as caught:
        check_study(study)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("studies/stopping/params.yaml: ")


@pytest.mark.parametrize(
    ("problem", "operator", "setting"),
    [
        ("sr4", "block_average", "factor"),
        ("inpaint_random", "random_mask", "keep"),
        ("inpaint_box", "box_mask", "box"),
        ("deblur", "gaussian_blur", "blur_std"),
    ],
)
def test_a_problem_of_the_study_needs_the_setting_of_its_operator_as_a_task_does(study, problem, operator, setting):
    del study["problems"][problem][setting]
    with pytest.raises(UserError, match=rf"problems\.{problem}: operator {operator}: {setting}: field required"):
        check_study(study)


def test_noise_0_is_for_problems_that_are_no_denoising(study):
    problems = check_study(study).problems
    assert {name for name, problem in problems.items() if problem.noise == 0} >= {"sr4", "inpaint_random", "clean"}


def test_a_problem_that_leaks_is_no_denoising(study):
    problems = check_study(study).problems
    assert problems["gaussian25"].denoising
    assert not problems["clean"].denoising
    assert not problems["sr4"].denoising


@pytest.mark.parametrize(
    "change", [{"split": "none"}, {"split": "held_out"}, {"noise_level": "low"}, {"annealing": "target"}, {"input_scale": 3}]
)
def test_a_fit_that_differs_in_one_way_is_not_plain(study, change):
    plain = check_study(study).fits["gaussian25"]["skip"]
    assert plain.plain
    assert plain.model_copy(update={"steps": 7, "every": 1, "whole": False, "probe": False, "network": "unet"}).plain
    assert not plain.model_copy(update=change).plain
