"""Overlays on params.yaml: profiles/<name>.yaml holds only the values it sets."""

import io
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedSeq

from dualprior.common.errors import UserError
from dualprior.common.io import write_text
from dualprior.pipeline.config import check_params, read_yaml


def names(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / "profiles").glob("*.yaml"))


def apply(root: Path, name: str) -> list[str]:
    """Lay profiles/<name>.yaml over params.yaml, keeping its comments; returns one line for each changed value.

    Raises UserError for an unknown profile, a key that params.yaml does not have, or a value it refuses; params.yaml is then
    untouched.
    """
    if name not in names(root):
        raise UserError(f"profile '{name}' does not exist; choose one of {', '.join(names(root))}")
    overlay, source = read_yaml(root / f"profiles/{name}.yaml"), f"profiles/{name}.yaml"
    read_yaml(root / "params.yaml")  # a broken file is reported there
    yaml = YAML()
    yaml.preserve_quotes, yaml.width = True, 120
    yaml.representer.add_representer(type(None), lambda self, _: self.represent_scalar("tag:yaml.org,2002:null", "null"))
    document = yaml.load(root / "params.yaml")
    changes = _lay(document, overlay, source, "")
    text = io.StringIO()
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
