"""The exceptions a person may see: one line that says what is wrong, the value, and what to do."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path


class UserError(ValueError):
    """A mistake of the user's (parameters, files, command line). The command line prints it and exits with code 2."""


def choices(word: str, known: Iterable[str]) -> str:
    """The known words, and the one that was perhaps meant."""
    known = list(known)
    near = get_close_matches(word, known, n=1)
    return f"did you mean '{near[0]}'? The choices are {', '.join(known)}" if near else f"choose one of {', '.join(known)}"


class MissingFile(UserError):
    """A file is not there that an earlier stage should have made."""

    def __init__(self, path: Path):
        super().__init__(f"{path} is missing; run `dvc repro`, which runs the stage that makes it")
        self.path = path
