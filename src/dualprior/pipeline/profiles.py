"""Overlays on params.yaml: profiles/<name>.yaml holds only the values it sets."""

import io
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.representer import RoundTripRepresenter

from dualprior.common.errors import UserError
from dualprior.common.io import write_text
from dualprior.pipeline.config import check_params, read_yaml


def names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml"))


def apply(root: Path, name: str) -> list[str]:
    """Lay profiles/<name>.yaml over params.yaml, keeping its comments; returns one line for each changed value.

    Raises UserError for an unknown profile, a key that params.yaml does not have, or a value it refuses;
    params.yaml is then untouched.
    """
    if name not in names(root):
        raise UserError(f"profile '{name}' does not exist; choose one of {', '.join(names(root))}")
    params, overlay = root / "params.yaml", root / f"profiles/{name}.yaml"
    for file in (params, overlay):
        read_yaml(file)  # a broken file is reported there
    yaml = _yaml()
    document = yaml.load(params)
    changes = _lay(document, yaml.load(overlay), f"profiles/{name}.yaml", "")
    text = io.StringIO()
    yaml.dump(document, text)
    check_params(YAML(typ="safe").load(text.getvalue()), f"profiles/{name}.yaml")
    if changes:
        write_text(params, text.getvalue())
    return changes


class _KeepsNull(RoundTripRepresenter):
    """Writes null where ruamel would leave the value empty."""


_KeepsNull.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))


def _yaml() -> YAML:
    yaml = YAML()
    yaml.Representer = _KeepsNull
    yaml.preserve_quotes = True
    yaml.width = 120
    return yaml


def _lay(target: CommentedMap, overlay: dict, source: str, prefix: str) -> list[str]:
    changes = []
    for key, value in overlay.items():
        name = f"{prefix}{key}"
        if key not in target:
            raise UserError(f"{source}: {name} is not a parameter; {prefix.rstrip('.') or 'params.yaml'} has {', '.join(target)}")
        if isinstance(target[key], CommentedMap):
            if not isinstance(value, dict):
                raise UserError(f"{source}: {name} = {value!r} replaces a whole section; give its entries one by one")
            changes += _lay(target[key], value, source, f"{name}.")
        elif target[key] != value:
            changes.append(f"{name}: {_shown(target[key])} -> {_shown(value)}")
            _assign(target, key, value)
    return changes


def _assign(target: CommentedMap, key: str, value) -> None:
    if isinstance(target[key], CommentedSeq) and isinstance(value, list):
        target[key][:] = value  # in place, so that [a, b] stays on one line
    else:
        target[key] = value


def _shown(value) -> str:
    if value is None:
        return "null"
    return f"[{', '.join(map(_shown, value))}]" if isinstance(value, list) else str(value)
