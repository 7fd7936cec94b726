"""The exceptions a person may see: one line that says what is wrong, the value, and what to do."""

from pathlib import Path


class UserError(ValueError):
    """A mistake of the user's (parameters, files, command line). The command line prints it and exits with code 2."""


class MissingArtefact(UserError):
    """A file is not there that an earlier stage should have made; maker, study: that stage and its folder of studies/, where known."""

    def __init__(self, path: Path, maker: str | None = None, study: str | None = None):
        because = f": stage {maker} has not run" if maker else ""
        target, option = (f" studies/{study}/dvc.yaml", f" --study {study}") if study else ("", "")
        super().__init__(f"{path} is missing{because}; run `dvc repro{target}` or `python src/cli.py all{option}`")
        self.path = path
