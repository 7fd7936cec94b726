"""params.yaml, checked, and the profiles laid over it.

A stage receives a `Config` that holds only the sections it declares; reading another one raises.
"""

from difflib import get_close_matches
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq
from ruamel.yaml.error import YAMLError

from dualprior.common.errors import UserError, choices
from dualprior.common.io import write_text
from dualprior.common.params import DDPM, DIP, Ablate, Audit, Data, Degrade, Evaluate, Generate, Restore, Section
from dualprior.degradation.task import Task
from dualprior.diffusion.schedule import noise_levels


class Params(Section):
    """The whole of the default experiment's params.yaml."""

    data: Data
    degrade: Degrade
    tasks: Annotated[dict[Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")], Task], Field(min_length=1)]
    ddpm: DDPM
    dip: DIP
    restore: Restore
    generate: Generate
    evaluate: Evaluate
    ablate: Ablate
    audit: Audit

    @model_validator(mode="after")
    def _named_tasks_exist(self):
        for name in ("ablate", "audit"):
            missing = [t for t in getattr(self, name).tasks if t not in self.tasks]
            if missing:
                raise ValueError(f"{name}.tasks names {missing}, which tasks does not have; it has {sorted(self.tasks)}")
        return self

    @model_validator(mode="after")
    def _sizes_fit_the_network(self):
        network = self.ddpm.network
        unit = network.patch * 2 ** (len(network.multipliers) - 1)
        for name, size in {
            "data.patch_size": self.data.patch_size,
            "data.image_size": self.data.image_size,
            "generate.size": self.generate.size,
        }.items():
            if -size % unit >= size:
                raise ValueError(
                    f"ddpm.network works on multiples of {unit} pixels, too many for {name}={size}; lower its patch or take out multipliers"
                )
        return self

    @model_validator(mode="after")
    def _levels_and_calls_fit_the_schedule(self):
        if self.ddpm.pretrained is not None:
            return self  # its schedule is its own
        levels = noise_levels(**self.ddpm.schedule.model_dump())
        named = {f"tasks.{name}.noise={task.noise:g}": task.sigma_y for name, task in self.tasks.items() if task.noise}
        named |= {f"restore.one_step_levels: {level:g}": level for level in self.restore.one_step_levels}
        for name, level in named.items():
            if not levels[0] <= level <= levels[-1]:
                span = f"{levels[0]:.3g} to {levels[-1]:.3g}"
                raise ValueError(f"{name} is noise level {level:.3g} in [-1, 1] units, and ddpm.schedule has {span}; change either")
        for name, calls in {
            "generate.calls": max(self.generate.calls),
            "restore.guided.calls": self.restore.guided.calls,
            "audit.calls": self.audit.calls,
        }.items():
            if calls > len(levels):
                raise ValueError(f"{name}={calls} is more than ddpm.schedule.timesteps={len(levels)}; change either")
        return self


class Config:
    """The sections a stage declared, as attributes; `entry(section, name)` for one of its entries. Remembers what was read.

    params: of the pipeline at hand first, then of the default experiment.
    """

    def __init__(self, params: list[Section], sections: tuple[str, ...]):
        self._all = params
        self._sections = frozenset(sections)
        self._read: set[str] = set()

    def __getattr__(self, name: str):
        if name.startswith("_"):
            raise AttributeError(name)
        section = self._find(name)
        self._note(name)
        return section

    def entry(self, section: str, name: str) -> Section:
        """`name` of a section that maps names to entries; the stage declares "section.name" or the whole section."""
        entries = self._find(section)
        entries = entries if isinstance(entries, dict) else vars(entries)
        if name not in entries:
            raise UserError(f"{section.removesuffix('s')} '{name}' is not in params.yaml; {choices(name, entries)}")
        self._note(section if section in self._sections else f"{section}.{name}")
        return entries[name]

    def unread(self) -> list[str]:
        """Declared sections that nothing has read: a change there would rerun the stage for nothing."""
        return sorted(self._sections - self._read)

    def _find(self, section: str):
        holder = next((params for params in self._all if section in type(params).model_fields), None)
        if holder is None:
            raise AttributeError(section)
        return getattr(holder, section)

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


def check_params(data: dict, source: str = "params.yaml", kind: type[Section] = Params) -> Section:
    """The checked parameters. Raises UserError naming the parameter, the value and the rule broken; source: the file to mend."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UserError(_one_line(error, source, kind)) from None


def _meant(place: tuple, kind: type[Section]) -> str:
    """The parameter that may have been meant by one that does not exist, as far as its sections are known."""
    for part in place[:-1]:
        kind = getattr(kind.model_fields.get(part), "annotation", None) if hasattr(kind, "model_fields") else None
    near = get_close_matches(str(place[-1]), kind.model_fields, n=1) if hasattr(kind, "model_fields") else []
    return f"did you mean '{near[0]}'? Else " if near else ""


def _one_line(error: ValidationError, source: str, kind: type[Section]) -> str:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    value = "" if isinstance(first["input"], dict | Section) else f" = {first['input']!r}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    if first["type"] == "extra_forbidden":
        return f"{source}: {name}{value} is not a parameter; {_meant(first['loc'], kind)}check its spelling or take it out{more}"
    if first["type"] == "missing":
        return f"{source}: {name} is missing; add it, or restore the file with git checkout{more}"
    rule = first["msg"].removeprefix("Value error, ")
    where = f"{name}{value}: " if name else ""
    return f"{source}: {where}{rule}; mend it in {source}{more}"


def load_params(root: Path, study: str | None = None) -> list[Section]:
    """All of params.yaml, checked: of the study first (its model is `Params` in studies/NAME/params.py), then the default one."""
    default = check_params(read_yaml(root / "params.yaml"))
    if study is None:
        return [default]
    file = Path("studies") / study / "params.yaml"
    return [check_params(read_yaml(root / file), file.as_posix(), import_module(f"studies.{study}.params").Params), default]


def load_config(root: Path, sections: tuple[str, ...], study: str | None = None) -> Config:
    """All parameters are checked; only `sections` (e.g. "dip", "tasks.sr4") can be read."""
    return Config(load_params(root, study), sections)


def profile_names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml"))


def apply_profile(root: Path, name: str) -> list[str]:
    """Lay profiles/<name>.yaml over params.yaml, keeping its comments; returns one line for each changed value.

    Raises UserError for an unknown profile, a key that params.yaml does not have, or a value it refuses; params.yaml is then
    untouched.
    """
    if name not in profile_names(root):
        raise UserError(f"profile '{name}' does not exist; {choices(name, profile_names(root))}")
    overlay, source = read_yaml(root / f"profiles/{name}.yaml"), f"profiles/{name}.yaml"
    read_yaml(root / "params.yaml")  # a broken file is reported there
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))
    document = yaml.load(root / "params.yaml")
    changes = _lay(document, overlay, source, "")
    text = StringIO()
    yaml.dump(document, text)
    check_params(YAML(typ="safe").load(text.getvalue()), source)
    if changes:
        write_text(root / "params.yaml", text.getvalue())
    return changes


def _lay(target: dict, overlay: dict, source: str, prefix: str) -> list[str]:
    changes = []
    for key, value in overlay.items():
        name = f"{prefix}{key}"
        if key not in target:
            raise UserError(f"{source}: {name} is not a parameter; {prefix.rstrip('.') or 'params.yaml'} has {', '.join(target)}")
        old = target[key]
        if isinstance(old, dict):
            if not isinstance(value, dict):
                raise UserError(f"{source}: {name} = {value!r} replaces a whole section; give its entries one by one")
            changes += _lay(old, value, source, f"{name}.")
        elif old != value:
            changes.append(f"{name}: {list(old) if isinstance(old, list) else old} -> {value}")
            if isinstance(old, CommentedSeq) and isinstance(value, list):
                old[:] = value  # in place, so that [a, b] stays on one line
            else:
                target[key] = value
    return changes
