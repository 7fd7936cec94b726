"""params.yaml as frozen models: one class a section (in `settings`), unknown names refused, ranges checked.

A stage receives a `Config` that holds only the sections it declares; reading another one raises. No stage depends on
this file, only on the modules of its own sections.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from dualprior.errors import UserError
from dualprior.settings.ablate import Ablate
from dualprior.settings.audit import Audit
from dualprior.settings.base import Section
from dualprior.settings.data import Data
from dualprior.settings.ddpm import DDPM
from dualprior.settings.dip import DIP
from dualprior.settings.evaluate import Evaluate
from dualprior.settings.generate import Generate
from dualprior.settings.hybrid_study import HybridStudy
from dualprior.settings.report import Report
from dualprior.settings.restore import Hybrid, Restore
from dualprior.settings.stopping_study import StoppingStudy
from dualprior.settings.tasks import Measure, Task


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
    audit: Audit

    @model_validator(mode="after")
    def _named_tasks_exist(self):
        for name in ("ablate", "audit"):
            missing = [t for t in getattr(self, name).tasks if t not in self.tasks]
            if missing:
                raise ValueError(f"{name}.tasks names {missing}, which tasks does not have; it has {sorted(self.tasks)}")
        return self


SCHEMAS = {  # of the params.yaml in each pipeline's folder
    ".": Params,
    "studies/hybrid": HybridStudy,
    "studies/report": Report,
    "studies/stopping": StoppingStudy,
}
KEYED = ("tasks",)  # sections read entry by entry only, so that a stage cannot come to depend on its neighbours' entries


class Config:
    """The sections a stage declared, as attributes; `entry(section, name)` for one entry of a section. Remembers what was read.

    params: of the default experiment, or of a study; default: beside those of a study, the default experiment's.
    """

    def __init__(self, params: Section, sections: tuple[str, ...], default: Section | None = None):
        self._all = [params] if default is None else [params, default]
        self._sections = frozenset(sections)
        self._read: set[str] = set()

    def __getattr__(self, name: str):
        if name.startswith("_") or name in KEYED:
            raise AttributeError(name)
        params = self._holder(name)
        self._note(name)
        return getattr(params, name)

    def _holder(self, section: str) -> Section:
        holder = next((params for params in self._all if section in type(params).model_fields), None)
        if holder is None:
            raise AttributeError(section)
        return holder

    def entry(self, section: str, name: str) -> Section:
        """`name` of a section that maps names to entries; the stage declares "section.name" or the whole section."""
        self._note(section if section in self._sections else f"{section}.{name}")
        entries = getattr(self._holder(section), section)
        if name not in entries:
            raise UserError(f"{section.removesuffix('s')} '{name}' is not in params.yaml; it has {', '.join(entries)}")
        return entries[name]

    def task(self, name: str) -> Task:
        return self.entry("tasks", name)

    def task_names(self) -> tuple[str, ...]:
        """All tasks in the order of params.yaml; only for a stage that declares the whole section "tasks"."""
        self._note("tasks")
        return tuple(self._holder("tasks").tasks)

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


def check_params(data: dict, source: str = "params.yaml", kind: type[Section] = Params) -> Section:
    """The checked parameters. Raises UserError naming the parameter, the value and the rule broken; source: the file to mend."""
    try:
        return kind.model_validate(data)
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


def load_config(root: Path, sections: tuple[str, ...], pipeline: str = ".") -> Config:
    """All of the pipeline's params.yaml is checked; only `sections` (e.g. "dip", "tasks.sr4") can be read.

    A stage of a study may declare sections of the default experiment too.
    """
    file = Path(pipeline) / "params.yaml"
    params = check_params(read_yaml(root / file), file.as_posix(), SCHEMAS[pipeline])
    return Config(params, sections, None if pipeline == "." else load_params(root / "params.yaml"))
