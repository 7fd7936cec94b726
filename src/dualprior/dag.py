"""dvc.yaml as a list of stages: matrix stages expanded, in an order that respects their files.

Used by the command line (order of `all`, legal keys, checkpoint fingerprints) and by the tests that hold
dvc.yaml equal to the code.
"""

import ast
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from ruamel.yaml import YAML

from dualprior.config import read_yaml
from dualprior.errors import UserError

_SLOT = re.compile(r"\$\{([\w.]+)\}")
MAIN = "."  # the pipeline of the default experiment


@dataclass(frozen=True)
class Stage:
    """One stage of a dvc.yaml after expansion; paths are relative to the project's folder."""

    name: str  # "degrade"
    key: str | None  # "sr4", the matrix or foreach item; None for a plain stage
    cmd: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]  # cached outputs, metrics and plots
    params: tuple[str, ...]  # parameter sections, "tasks.sr4", of the pipeline's params.yaml or the default experiment's
    pipeline: str = MAIN  # folder of the dvc.yaml and params.yaml

    @property
    def id(self) -> str:
        """DVC's own name of the stage in its pipeline, "degrade@sr4"."""
        return self.name if self.key is None else f"{self.name}@{self.key}"

    @property
    def module(self) -> str:
        """The module that runs it."""
        return module_of(self.pipeline, self.name)

    @property
    def arguments(self) -> list[str]:
        """What follows `python src/cli.py` in cmd."""
        return self.cmd.split()[2:]


def pipelines(root: Path) -> list[str]:
    """The default experiment and the studies: folders, each with a dvc.yaml and a params.yaml."""
    return [MAIN, *sorted(file.parent.relative_to(root).as_posix() for file in (root / "studies").glob("*/dvc.yaml"))]


def module_of(pipeline: str, name: str) -> str:
    """Dotted name of the module behind the stages called `name`."""
    return f"dualprior.{'stages' if pipeline == MAIN else pipeline.replace('/', '.')}.{name}"


def read_stages(root: Path, pipeline: str = MAIN) -> list[Stage]:
    """All stages of a pipeline, each after the makers of its files, otherwise in the order they are written.

    Raises UserError, with the legal ones listed, for a pipeline that does not exist.
    """
    if pipeline not in pipelines(root):
        known = ", ".join(Path(folder).name for folder in pipelines(root)[1:])
        raise UserError(f"study '{Path(pipeline).name}' does not exist; choose one of {known}")
    params = read_yaml(root / pipeline / "params.yaml")
    entries = read_yaml(root / pipeline / "dvc.yaml")["stages"]
    return _ordered([stage for name, entry in entries.items() for stage in _expand(name, entry, params, pipeline)])


def find_stage(root: Path, name: str, key: str | None = None, pipeline: str = MAIN) -> Stage:
    """One stage. Raises UserError, with the legal ones listed, for a pipeline, name or key that does not exist."""
    stages = read_stages(root, pipeline)
    name = name.replace("-", "_")  # as the commands of the default experiment are spelt
    keys = [stage.key for stage in stages if stage.name == name]
    if not keys:
        known = ", ".join(dict.fromkeys(stage.name for stage in stages))
        raise UserError(f"stage '{name}' is not in {Path(pipeline) / 'dvc.yaml'}; it has {known}")
    if key is None and None not in keys:
        raise UserError(f"{name} is run for one at a time; choose one of {', '.join(map(str, keys))}")
    if keys == [None] and key is not None:
        raise UserError(f"{name} is run once, for all; leave out '{key}'")
    if key not in keys:
        raise UserError(f"{name} knows no '{key}'; choose one of {', '.join(map(str, keys))}")
    return next(stage for stage in stages if (stage.name, stage.key) == (name, key))


def maker(root: Path, path: Path) -> Stage | None:
    """The stage that makes a file, or None for a file no stage makes."""
    place = Path(path).as_posix()
    stages = [stage for pipeline in pipelines(root) for stage in read_stages(root, pipeline)]
    return next((stage for stage in stages if any(place == out or place.startswith(f"{out}/") for out in stage.outs)), None)


def mermaid(stages: list[Stage]) -> str:
    """The graph as a Mermaid block for Markdown, the stages of a matrix drawn as one."""
    makers = {out: stage.name for stage in stages for out in stage.outs}
    edges = dict.fromkeys((makers[dep], stage.name) for stage in stages for dep in stage.deps if dep in makers)
    count = Counter(stage.name for stage in stages)
    nodes = [f'    {name}["{name} × {n}"]' if n > 1 else f"    {name}" for name, n in count.items()]
    return "\n".join(["```mermaid", "flowchart LR", *nodes, *(f"    {a} --> {b}" for a, b in edges), "```"])


def _expand(name: str, entry: dict, params: dict, pipeline: str) -> Iterator[Stage]:
    if "foreach" in entry:
        for key, item in _lookup(entry["foreach"], params).items():
            yield _stage(name, key, entry["do"], {"key": key, **{f"item.{field}": value for field, value in item.items()}}, pipeline)
        return
    matrix = {
        slot: list(_lookup(values, params) if isinstance(values, str) else values) for slot, values in entry.get("matrix", {}).items()
    }
    for combination in product(*matrix.values()):
        key = "-".join(combination) or None
        yield _stage(name, key, entry, {f"item.{s}": v for s, v in zip(matrix, combination, strict=True)}, pipeline)


def _lookup(slot: str, params: dict) -> dict | list:
    """The value behind "${tasks}"; a mapping yields its keys when iterated, as in DVC."""
    return _section(_SLOT.fullmatch(slot)[1], params)


def _section(name: str, params: dict) -> dict | list:
    """The value of "tasks.sr4"."""
    for part in name.split("."):
        params = params[part]
    return params


def _stage(name: str, key: str | None, entry: dict, items: dict[str, str], pipeline: str) -> Stage:
    def fill(text: str) -> str:
        return _SLOT.sub(lambda slot: items[slot[1]], text)

    def paths(field: str) -> list[str]:
        return [fill(next(iter(item)) if isinstance(item, dict) else item) for item in entry.get(field, [])]

    sections = [each for item in entry.get("params", []) for each in (next(iter(item.values())) if isinstance(item, dict) else [item])]
    return Stage(
        name=name,
        key=key,
        cmd=fill(entry["cmd"]),
        deps=tuple(paths("deps")),
        outs=tuple(paths("outs") + paths("metrics") + paths("plots")),
        params=tuple(fill(section) for section in sections),
        pipeline=pipeline,
    )


def _ordered(stages: list[Stage]) -> list[Stage]:
    """Topological order; among the stages that are ready, the first written comes first."""
    makers = {out: stage.id for stage in stages for out in stage.outs}
    waiting, done, result = list(stages), set(), []
    while waiting:
        ready = next((s for s in waiting if all(makers.get(dep, s.id) in done for dep in s.deps if dep in makers)), None)
        if ready is None:
            raise UserError(f"dvc.yaml: {', '.join(s.id for s in waiting)} wait for one another; break the cycle")
        waiting.remove(ready)
        done.add(ready.id)
        result.append(ready)
    return result


# --- what a stage depends on -------------------------------------------------------------------------------


def import_closure(module: str, source: Path) -> list[str]:
    """Files below `source` that importing `module` executes, as sorted paths that start with source's name.

    module: dotted name, "dualprior.stages.restore". Imports inside functions count; those for type checkers only do
    not, nor does a package's __init__.py that holds nothing but its docstring. Raises UserError when the module has
    no file.
    """
    found: set[Path] = set()
    waiting = [module]
    if _module_file(module, source) is None:
        raise UserError(f"{module} has no file below {source}; write it or take its stage out of dvc.yaml")
    while waiting:
        name = waiting.pop()
        file = _module_file(name, source)
        if file is None or file in found:
            continue
        found.add(file)
        waiting += _imports(file, name) + _parents(name)
    return sorted(file.relative_to(source.parent).as_posix() for file in found if not _only_documents(file))


def _module_file(name: str, source: Path) -> Path | None:
    base = source.joinpath(*name.split("."))
    return next((file for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()), None)


def _only_documents(file: Path) -> bool:
    return file.name == "__init__.py" and all(_is_docstring(node) for node in ast.parse(file.read_text(encoding="utf-8")).body)


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts))]


def _imports(file: Path, name: str) -> list[str]:
    """Dotted names that a file may import; `from a import b` gives both a and a.b, as b may be a module."""
    package = name if file.name == "__init__.py" else name.rpartition(".")[0]
    names: list[str] = []
    for node in _executed(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        if isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            origin = ".".join(up + ([node.module] if node.module else []))
            names += [origin, *(f"{origin}.{alias.name}" for alias in node.names)]
    return [found for each in names for found in (each, *_parents(each))]


def _executed(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node but those that only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from _executed(ast.Module(node.orelse, []))
            continue
        yield node
        yield from _executed(node)


def fingerprint(stage: Stage, root: Path) -> str:
    """A short hash of all that decides a stage's result: its declared parameters and its dependency files."""
    params = read_yaml(root / MAIN / "params.yaml") | read_yaml(root / stage.pipeline / "params.yaml")
    state = {
        "params": {section: _section(section, params) for section in stage.params},
        "deps": {dep: _file_hash(root / dep) for dep in stage.deps},
    }
    return hashlib.blake2b(json.dumps(state, sort_keys=True).encode(), digest_size=8).hexdigest()


def _file_hash(path: Path) -> str | None:
    if path.is_dir():
        return hashlib.blake2b("".join(filter(None, map(_file_hash, sorted(path.iterdir())))).encode()).hexdigest()
    if not path.is_file():
        return None
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()


def write_code_deps(root: Path) -> list[str]:
    """Set the code dependencies in every dvc.yaml to each stage module's import closure; the rest stays as written.

    Returns the names of the stages that changed.
    """
    return [name for pipeline in pipelines(root) for name in _write_code_deps(root, pipeline)]


def _write_code_deps(root: Path, pipeline: str) -> list[str]:
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    file = root / pipeline / "dvc.yaml"
    document = yaml.load(file)
    changed = []
    for name, entry in document["stages"].items():
        code = import_closure(module_of(pipeline, name), root / "src")
        listed = entry.get("do", entry)["deps"]
        deps = code + [dep for dep in listed if not dep.startswith("src/")]
        if deps != list(listed):
            listed[:] = deps
            changed.append(name)
    if changed:
        with open(file, "w", encoding="utf-8") as out:
            yaml.dump(document, out)
    return changed
