"""The command line: parse, prepare the machine, run one stage. No stage depends on this file."""

import ctypes
import errno
import importlib
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from dualprior.errors import MissingArtefact, UserError

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # malloc.h
ROOT = Path()  # every command works on the project in the current folder

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Restore images with a diffusion prior and a Deep Image Prior. Run from the project's folder.",
)
TaskName = Annotated[str, typer.Argument(metavar="TASK", help="A task of params.yaml.")]
KnobName = Annotated[str, typer.Argument(metavar="KNOB", help="The setting to vary.")]


@app.command()
def prepare() -> None:
    """Cut photographs into training patches, validation crops and test crops."""
    _run_stage("prepare")


@app.command()
def degrade(task: TaskName) -> None:
    """Make the measurements of one task."""
    _run_stage("degrade", task)


@app.command()
def train_ddpm() -> None:
    """Train the diffusion model."""
    _run_stage("train_ddpm")


@app.command()
def fit_dip(task: TaskName) -> None:
    """Fit a Deep Image Prior to every measurement of one task."""
    _run_stage("fit_dip", task)


@app.command()
def restore(task: TaskName) -> None:
    """Restore the test images of one task with every method."""
    _run_stage("restore", task)


@app.command()
def generate() -> None:
    """Draw images from the diffusion model."""
    _run_stage("generate")


@app.command()
def evaluate(task: TaskName) -> None:
    """Judge the restorations of one task."""
    _run_stage("evaluate", task)


@app.command()
def evaluate_generation() -> None:
    """Judge the generated images."""
    _run_stage("evaluate_generation")


@app.command()
def ablate(knob: KnobName) -> None:
    """Vary one setting of the hybrid and tabulate the result."""
    _run_stage("ablate", knob)


@app.command()
def audit() -> None:
    """Run broken protocols of public solutions beside the same mended."""
    _run_stage("audit")


@app.command()
def summarise() -> None:
    """Join the tasks into the tables and claims."""
    _run_stage("summarise")


@app.command()
def study(
    name: Annotated[str, typer.Argument(metavar="STUDY", help="A folder of studies/.")],
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage of its dvc.yaml.")],
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Which one, of a stage that is run for several.")] = None,
) -> None:
    """Run one stage of a study."""
    _run_stage(stage, key, f"studies/{name}")


@app.command("all")
def run_all(
    study: Annotated[str | None, typer.Option("--study", metavar="STUDY", help="A study instead of the default experiment.")] = None,
) -> None:
    """Run every stage, one after the other, without DVC; stop at the first failure."""
    from dualprior import dag

    for stage in dag.read_stages(ROOT, f"studies/{study}" if study else dag.MAIN):
        print(f"Running stage '{stage.id}':", flush=True)
        code = _wait([sys.executable, __file__, *stage.arguments])
        if code:
            raise typer.Exit(code if code > 0 else 128 - code)


@app.command()
def profile(name: Annotated[str, typer.Argument(metavar="NAME", help="A file of profiles/, without .yaml.")]) -> None:
    """Lay profiles/NAME.yaml over params.yaml and print what changes."""
    from dualprior import profiles

    print("\n".join(profiles.apply(ROOT, name)) or f"params.yaml already agrees with profile {name}")


@app.command()
def readme(check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when README is stale.")] = False) -> None:
    """Write the tables of README.md from the metrics."""
    from dualprior.artifacts import read_text, write_text
    from dualprior.readme import render

    file = ROOT / "README.md"
    old = read_text(file)
    new = render(ROOT, old)
    if check and new != old:
        raise UserError("README.md is not in step with the metrics; run `python src/cli.py readme`")
    if new != old:
        write_text(file, new)


@app.command()
def collect(
    metric: Annotated[
        list[str] | None, typer.Option("--metric", metavar="PATTERN", help="Metrics to show, the file's stem first; may be repeated.")
    ] = None,
    every_commit: Annotated[bool, typer.Option("--all-commits", help="Experiments of every commit, not only of the current one.")] = False,
) -> None:
    """Put all DVC experiments into experiments/: one table, one figure."""
    from dualprior import experiments
    from dualprior.artifacts import write_figure, write_table, write_text
    from dualprior.tables import markdown

    collected = experiments.tabulate(experiments.show(ROOT, every_commit), metric or ["*.hybrid.psnr"])
    text, folder = markdown(collected.table, decimals=3), ROOT / "experiments"
    figure = experiments.figure(collected)
    write_table(folder / "table.csv", collected.table)
    write_text(folder / "table.md", text)
    write_figure(folder / "plot.png", figure)
    print(text)


@app.command("dag")
def show_dag(
    write_deps: Annotated[bool, typer.Option("--write-deps", help="Rewrite the code dependencies in dvc.yaml.")] = False,
) -> None:
    """List the stages in the order they run."""
    from dualprior import dag

    if write_deps:
        print("\n".join(dag.write_code_deps(ROOT)) or "dvc.yaml already lists every code dependency")
        return
    print("\n".join(stage.id for stage in dag.read_stages(ROOT)))


def _run_stage(name: str, key: str | None = None, pipeline: str = ".") -> None:
    """Run one stage on this machine, then note its seconds and memory."""
    from dualprior import dag
    from dualprior.config import load_config

    stage = dag.find_stage(ROOT, name, key, pipeline)
    config = load_config(ROOT, stage.params, pipeline)
    prepare_machine()
    from dualprior import usage
    from dualprior.paths import Paths

    scratch = Path(os.environ.get("DVC_ROOT", ROOT)) / ".scratch"
    paths = Paths(ROOT, scratch / pipeline / stage.id / dag.fingerprint(stage, ROOT), pipeline)
    importlib.import_module(stage.module).run(config, paths, key)
    for section in config.unread():
        logging.warning("dvc.yaml declares the parameters '%s' for %s, which does not read them", section, stage.id)
    usage.record(paths, stage.id, scratch)
    shutil.rmtree(paths.scratch, ignore_errors=True)  # the result is written; a forced rerun starts afresh


def prepare_machine() -> None:
    """Memory and threads; before torch is imported, or it does not listen."""
    _keep_memory()
    threads = os.environ.get("DUALPRIOR_THREADS")
    if threads is None:
        return
    if not threads.isdecimal() or int(threads) < 1:
        raise UserError(f"DUALPRIOR_THREADS={threads} is not a number of threads; set it to 1 or more")
    os.environ.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)


def _keep_memory() -> None:
    """Make glibc keep freed memory: giving large activations back after every step costs page faults.

    Parameters of mallopt(3). Does nothing on another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    mallopt(M_MMAP_THRESHOLD, 2**31 - 1)
    mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
    mallopt(M_TOP_PAD, 256 * 2**20)


def _wait(command: list[str]) -> int:
    """Run a command; a signal to this process ends it too. Returns its exit status."""
    process = subprocess.Popen(command)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.terminate()
        process.wait()
        raise


def _interrupt(*_signal) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake of the user's, 1 the disk or another failure, 130 interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return app(arguments, prog_name="src/cli.py", standalone_mode=False) or 0
    except MissingArtefact as error:
        return _fail(str(_with_maker(error)), 2)
    except UserError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()}; see `python src/cli.py --help`", error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail("the disk is full; free some space and run again", 1)


def _with_maker(error: MissingArtefact) -> MissingArtefact:
    """The same, naming the stage that makes the file; as it is where dvc.yaml cannot tell."""
    from dualprior import dag

    try:
        stage = dag.maker(ROOT, error.path)
    except UserError:
        return error
    if stage is None:
        return error
    return MissingArtefact(error.path, stage.name, None if stage.pipeline == dag.MAIN else Path(stage.pipeline).name)


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
