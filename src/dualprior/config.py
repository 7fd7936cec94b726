"""params.yaml as frozen models: one class a section, unknown names refused, ranges checked.

A stage receives a `Config` that holds only the sections it declares; reading another one raises.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dualprior.errors import UserError

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # neither true nor "25"; a whole number passes
Whole = Annotated[int, Field(strict=True)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(gt=0, lt=1)]
Count = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Precision = Literal["bfloat16", "float32"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    source: Literal["photos", "folder"]
    folder: str | None
    seed: Seed
    patch_size: Annotated[Whole, Field(ge=8, multiple_of=4)]
    train_patches: Count
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]
    image_size: Annotated[Whole, Field(ge=16, multiple_of=8)]
    val_images: Annotated[Whole, Field(ge=2)]
    test_images: Annotated[Whole, Field(ge=2)]

    @model_validator(mode="after")
    def _folder_named(self):
        if self.source == "folder" and not self.folder:
            raise ValueError("data.source is 'folder' but data.folder is empty; name the folder of photographs")
        return self


class Measure(Section):
    seed: Seed


class Task(Section):
    operator: Literal["identity", "block_average", "random_mask", "box_mask", "gaussian_blur"]
    noise: Annotated[Number, Field(ge=0, le=255)]
    factor: Annotated[Whole, Field(ge=2, le=8)] | None = None
    keep: Share | None = None
    box: Count | None = None
    blur_std: Positive | None = None

    @model_validator(mode="after")
    def _has_its_setting(self):
        needed = {"block_average": "factor", "random_mask": "keep", "box_mask": "box", "gaussian_blur": "blur_std"}
        name = needed.get(self.operator)
        if name and getattr(self, name) is None:
            raise ValueError(f"operator {self.operator} needs {name}")
        if self.operator == "identity" and self.noise == 0:
            raise ValueError("denoising with noise 0 has nothing to restore; give a noise above 0")
        return self

    @property
    def sigma_y(self) -> float:
        """Measurement noise in [-1, 1] units: twice the [0, 1] level."""
        return 2.0 * self.noise / 255.0


class Schedule(Section):
    kind: Literal["linear", "cosine", "sigmoid", "lognormal"]
    timesteps: Annotated[Whole, Field(ge=10, le=10000)]


class DDPMNetwork(Section):
    channels: Annotated[Whole, Field(ge=8)]
    multipliers: Annotated[tuple[Count, ...], Field(min_length=1, max_length=5)]
    blocks: Annotated[Whole, Field(ge=1, le=8)]
    patch: Annotated[Whole, Field(ge=1, le=4)]


class Training(Section):
    steps: Count
    batch_size: Count
    lr: Positive
    lr_decay: Literal["cosine", "linear", "none"]
    warmup_steps: Annotated[Whole, Field(ge=0)]
    grad_clip: Positive
    ema: Share
    precision: Precision
    log_every: Count
    checkpoint_every: Count


class DDPM(Section):
    seed: Seed
    prediction: Literal["eps", "x0", "v"]
    schedule: Schedule
    network: DDPMNetwork
    training: Training


class DIPNetwork(Section):
    kind: Literal["skip"]
    channels: Annotated[tuple[Count, ...], Field(min_length=1, max_length=6)]
    skip_channels: Annotated[Whole, Field(ge=0)]
    input_channels: Count


class DIP(Section):
    seed: Seed
    network: DIPNetwork
    steps: Annotated[Whole, Field(ge=2)]
    snapshots: Annotated[Whole, Field(ge=2)]
    lr: Positive
    input_noise: NonNegative
    input_cell: Count
    ema: Annotated[Number, Field(ge=0, lt=1)]
    split_alpha: Positive
    hold_out: Share
    precision: Precision

    @model_validator(mode="after")
    def _snapshots_fit(self):
        if self.snapshots > self.steps:
            raise ValueError(f"dip.snapshots={self.snapshots} is more than dip.steps={self.steps}; lower it")
        return self


class DDPMGrid(Section):
    calls: Annotated[tuple[Annotated[Whole, Field(ge=1, le=100)], ...], Field(min_length=1)]
    zetas: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)], ...], Field(min_length=1)]
    data_weights: Annotated[tuple[Positive, ...], Field(min_length=1)]


class MeanOf(Section):
    samples: Annotated[Whole, Field(ge=2)]
    calls: Count


class FullChain(Section):
    calls: Annotated[Whole, Field(ge=2)]
    images: Count


class Restore(Section):
    seed: Seed
    ddpm: DDPMGrid
    mean: MeanOf
    full: FullChain
    one_step_levels: Annotated[tuple[Positive, ...], Field(min_length=1)]


class Coupled(Section):
    beta: NonNegative
    refresh: Count
    level_scale: Positive
    steps: Annotated[Whole, Field(ge=2)]


class Hybrid(Section):
    start_scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    data_weight: Positive
    coupled: Coupled


class Generate(Section):
    seed: Seed
    images: Annotated[Whole, Field(ge=4)]
    size: Annotated[Whole, Field(ge=8, multiple_of=8)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    samplers: Annotated[tuple[Literal["ddpm", "ddim"], ...], Field(min_length=1)]


class Evaluate(Section):
    bootstrap: Annotated[Whole, Field(ge=100)]
    confidence: Share
    seed: Seed
    extractor: Literal["patch-features", "inception"]
    inception_weights: str | None


class Ablate(Section):
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    start_level: Annotated[tuple[Positive, ...], Field(min_length=2)]
    dip_steps: Annotated[tuple[Count, ...], Field(min_length=2)]
    calls: Annotated[tuple[Count, ...], Field(min_length=2)]
    data_weight: Annotated[tuple[Positive, ...], Field(min_length=2)]
    start_kind: Annotated[tuple[Literal["dip", "input", "pinv", "bicubic", "blurred", "one_step"], ...], Field(min_length=2)]


class Params(Section):
    """The whole of params.yaml."""

    data: Data
    measure: Measure
    tasks: Annotated[dict[str, Task], Field(min_length=1)]
    ddpm: DDPM
    dip: DIP
    restore: Restore
    hybrid: Hybrid
    generate: Generate
    evaluate: Evaluate
    ablate: Ablate

    @model_validator(mode="after")
    def _ablation_tasks_exist(self):
        missing = [t for t in self.ablate.tasks if t not in self.tasks]
        if missing:
            raise ValueError(f"ablate.tasks names {missing}, which tasks does not have; it has {sorted(self.tasks)}")
        return self


class Config:
    """The sections a stage declared, as attributes; `task(name)` for one entry of tasks. Remembers what was read."""

    def __init__(self, params: Params, sections: tuple[str, ...]):
        self._params = params
        self._sections = frozenset(sections)
        self._read: set[str] = set()

    def __getattr__(self, name: str):
        if name.startswith("_") or name not in Params.model_fields or name == "tasks":
            raise AttributeError(name)
        self._note(name)
        return getattr(self._params, name)

    def task(self, name: str) -> Task:
        self._note("tasks" if "tasks" in self._sections else f"tasks.{name}")
        if name not in self._params.tasks:
            raise UserError(f"task '{name}' is not in params.yaml; it has {', '.join(self._params.tasks)}")
        return self._params.tasks[name]

    def task_names(self) -> tuple[str, ...]:
        """All tasks in the order of params.yaml; only for a stage that declares the whole section "tasks"."""
        self._note("tasks")
        return tuple(self._params.tasks)

    def unread(self) -> list[str]:
        """Declared sections that nothing has read: a change there would rerun the stage for nothing."""
        return sorted(self._sections - self._read)

    def _note(self, section: str) -> None:
        if section not in self._sections:
            raise AttributeError(f"this stage does not declare the parameter section '{section}'")
        self._read.add(section)


def read_yaml(path: Path) -> dict:
    """YAML 1.2 (so 2e-05 is a number) as plain dicts. Raises UserError for a missing or broken file."""
    try:
        data = YAML(typ="safe").load(Path(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run from the project's folder") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; mend that and run again") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}; mend it") from None
    if not isinstance(data, dict):
        raise UserError(f"{path} holds no parameters; restore it with git checkout")
    return data


def check_params(data: dict, source: str = "params.yaml") -> Params:
    """The checked parameters. Raises UserError naming the parameter, the value and the rule broken; source: the file to mend."""
    try:
        return Params.model_validate(data)
    except ValidationError as error:
        raise UserError(_one_line(error, source)) from None


def _one_line(error: ValidationError, source: str) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    value = "" if isinstance(first["input"], dict) else f" = {first['input']!r}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{source}: {name}{value} is not a parameter; check its spelling or take it out{more}"
    if first["type"] == "missing":
        return f"{source}: {name} is missing; add it, or restore the file with git checkout{more}"
    rule = first["msg"].removeprefix("Value error, ")
    where = f"{name}{value}: " if name else ""
    return f"{source}: {where}{rule}; mend it in {source}{more}"


def load_params(path: Path) -> Params:
    """Read and check all of params.yaml."""
    return check_params(read_yaml(path))


def load_config(path: Path, sections: tuple[str, ...]) -> Config:
    """All of params.yaml is checked; only `sections` (e.g. "dip", "tasks.sr4") can be read."""
    return Config(load_params(path), sections)
