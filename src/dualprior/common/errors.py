"""The exceptions a person may see: one line that says what is wrong, the value, and what to do."""

from pathlib import Path


class UserError(ValueError):
    """A mistake of the user's (parameters, files, command line). The command line prints it and exits with code 2."""


class MissingFile(UserError):
    """A file is not there that an earlier stage should have made."""

    def __init__(self, path: Path):
        super().__init__(f"{path} is missing; run `dvc repro`, which runs the stage that makes it")
        self.path = path
