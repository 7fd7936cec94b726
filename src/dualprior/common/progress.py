"""Progress and time left of long work, on the error stream: a moving bar in a terminal, a line now and then in a log."""

import sys
from collections.abc import Iterable
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")


def track(items: Iterable[Item], what: str, total: int | None = None, done: int = 0) -> Iterable[Item]:
    """The same items, with a bar called `what`. done: how many of `total` were finished before (a resumed training)."""
    in_terminal = sys.stderr.isatty()
    # a log gets a line every 20 s; tqdm's monitor thread would print at other times too
    return tqdm(items, desc=what, total=total, initial=done, mininterval=0.3 if in_terminal else 20, maxinterval=1e9, ascii=not in_terminal,
                leave=in_terminal)  # fmt: skip
