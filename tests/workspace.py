"""A copy of the project in a git repository of its own, and what a command in it said."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    def one_line(self) -> str:
        """The single line that a user's mistake may cost."""
        assert "Traceback" not in self.err
        lines = [line for line in self.err.splitlines() if line.startswith("error: ")]
        assert len(lines) == 1
        assert self.err.strip().endswith(lines[0])
        return lines[0]


@dataclass(frozen=True)
class Workspace:
    """A copy of the project in a git repository of its own."""

    root: Path
    env: dict[str, str]

    def run(self, *command: str, fails: bool = False) -> Outcome:
        done = subprocess.run(command, cwd=self.root, env=self.env, capture_output=True, text=True)
        assert fails or done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return Outcome(done.returncode, done.stdout, done.stderr)

    def cli(self, *arguments: str, fails: bool = False) -> Outcome:
        return self.run(sys.executable, "src/cli.py", *arguments, fails=fails)

    def dvc(self, *arguments: str) -> Outcome:
        return self.run(sys.executable, "-m", "dvc", *arguments)

    def commit(self) -> None:
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--allow-empty", "--message", "state")

    def repro(self, *targets: str) -> list[str]:
        """Stages that `dvc repro` ran, "degrade@sr4"."""
        return ran(self.dvc("repro", *targets).out)

    def edit(self, name: str, old: str, new: str) -> None:
        file = self.root / name
        assert old in file.read_text(), f"{name} has no {old!r}"
        file.write_text(file.read_text().replace(old, new, 1))

    def copy(self, to: Path) -> "Workspace":
        return Workspace(Path(shutil.copytree(self.root, to, symlinks=True)), self.env)


def ran(output: str) -> list[str]:
    return re.findall(r"^Running stage '(.+)':$", output, flags=re.MULTILINE)


def new_workspace(folder: Path) -> Workspace:
    """What a commit of the working tree would hold, committed; nothing in it has run."""
    home = folder / "home"
    home.mkdir()
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("GIT_", "DVC_", "DUALPRIOR_", "PYTHONPATH"))}
    env = inherited | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "DUALPRIOR_DEVICE": "cpu",
        "DUALPRIOR_THREADS": "1",
        "DVC_SITE_CACHE_DIR": str(home / "dvc"),
        "DVC_NO_ANALYTICS": "1",
        "GIT_AUTHOR_NAME": "test",
        "GIT_AUTHOR_EMAIL": "test@example.org",
        "GIT_COMMITTER_NAME": "test",
        "GIT_COMMITTER_EMAIL": "test@example.org",
    }
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    workspace = Workspace(folder / "project", env)
    for name in filter(None, listing.stdout.split("\0")):
        if (PROJECT / name).is_file():
            (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / name, workspace.root / name)
    for lock in workspace.root.rglob("dvc.lock"):
        lock.unlink()
    workspace.run("git", "init", "--quiet")
    workspace.commit()
    return workspace
