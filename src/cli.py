#!/usr/bin/env python
"""The command line: parse, prepare the machine, run one stage. No stage depends on this file."""

import errno
import importlib
import inspect
import logging
import os
import signal
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from dualprior.common.errors import UserError, choices

VERSION = "1.0"
ROOT = Path()  # every command works on the project in the current folder
# glibc gives large blocks back to the kernel after every step unless told to keep them; read when a process starts
KEEP_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "33554432", "MALLOC_TRIM_THRESHOLD_": "2147483647", "MALLOC_TOP_PAD_": "268435456"}

app = typer.Typer(
    pretty_exceptions_enable=False,
    help="Restore images with a diffusion prior and a Deep Image Prior. Run from the project's folder. "
    "Called as src/cli.py, with the environment activated, it completes in the shell after --install-completion.",
    epilog="Exit status: 0 done; 2 a mistake in a file, a parameter or an option, told in one line; 1 another failure; 130 interrupted.",
)


@app.callback(invoke_without_command=True)
def every_command(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Warnings and results only, no progress.")] = False,
) -> None:
    if version:
        print(f"dualprior {VERSION}")
    elif context.invoked_subcommand is None:
        print(context.get_help())
    if quiet:
        logging.getLogger().setLevel(logging.WARNING)
        os.environ["TQDM_DISABLE"] = "1"


@app.command()
def run(
    stage: Annotated[str, typer.Argument(metavar="STAGE", help="A stage of dvc.yaml.")],
    key: Annotated[str | None, typer.Argument(metavar="KEY", help="Which one, of a stage that is run for several: a task.")] = None,
    study: Annotated[str | None, typer.Option("--study", metavar="NAME", help="A folder of studies/ with a dvc.yaml of its own.")] = None,
) -> None:
    """Run one stage; `dvc repro` runs all that are due.

    Example: python src/cli.py run fit_dip denoise50
    """
    _set_threads()
    module = _stage_module(stage, study)
    from dualprior.common import run_statistics
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import load_config

    arguments = [] if key is None else [key]
    keyed = "key" in inspect.signature(module.run).parameters
    if keyed != (key is not None):
        once = f"{stage} is run once, for all; leave out '{key}'"
        raise UserError(f"{stage} is run for one task or problem at a time; name it" if keyed else once)
    config = load_config(ROOT, tuple(section.format(key=key) for section in module.PARAMS), study)
    paths = Paths(ROOT, study)
    module.run(config, paths, *arguments)
    for section in config.unread():
        logging.warning("dvc.yaml declares the parameters '%s' for %s, which does not read them", section, stage)
    run_statistics.record(paths.metrics("run_statistics.json"), "@".join([stage, *arguments]), paths.scratch)


@app.command()
def restore(
    source: Annotated[Path, typer.Argument(metavar="INPUT", help="A picture, or a folder of pictures. Nothing is done to them first.")],
    task: Annotated[str, typer.Option("--task", help="What to undo: denoise, sr (make larger), inpaint, deblur.")],
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where to write; else beside the input.")] = None,
    noise: Annotated[float | None, typer.Option(min=0, max=255, help="Standard deviation of 0-255; else estimated.")] = None,
    scale: Annotated[int, typer.Option(min=2, max=4, help="sr: how many times larger.")] = 4,
    mask: Annotated[Path | None, typer.Option(help="inpaint: a picture that is white where something is lost.")] = None,
    mask_color: Annotated[str | None, typer.Option(help="inpaint: the colour of what is lost, as #ff00ff; else the transparent.")] = None,
    blur: Annotated[str | None, typer.Option(help="deblur: 1.6 (Gaussian, pixels), motion:LENGTH:ANGLE or a file; else estimated.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Diffusion alone, in few calls.")] = False,
    whole: Annotated[bool, typer.Option("--whole", help="One DIP for the whole picture; else one a piece of 512 pixels.")] = False,
    model: Annotated[str, typer.Option(help="Folder of a trained model; 'none' for the untrained prior alone.")] = "models/hybrid",
    seed: Annotated[int, typer.Option(min=0)] = 0,
    report: Annotated[bool, typer.Option("--report", help="Also a sheet with all restorations, the error, and the stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what is known as JSON, a line a picture.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace files that exist.")] = False,
) -> None:
    """Restore a photograph of your own.

    Example: python src/cli.py restore photo.png --task denoise --noise 25 --report
    """
    _set_threads()
    from dualprior.photograph.command import Wish, restore_files
    from dualprior.pipeline.config import load_params

    effort = "fast" if fast else "normal"
    wish = Wish(task, output, noise, scale, mask, mask_color, blur, effort, whole, model, seed, report, as_json, force)
    restore_files(source, wish, ROOT / "models/hybrid/restore.json", load_params(ROOT)[0].dip)


@app.command()
def export(
    to: Annotated[str, typer.Option("--to", metavar="LIBRARY", help="diffusers or deepinv.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    model: Annotated[Path, typer.Option(help="Folder of a trained model.")] = Path("models/hybrid"),
) -> None:
    """Write a trained model for another library.

    Example: python src/cli.py export --to diffusers -o FOLDER
    """
    from dualprior.export.write import export as write

    write(model, to, output)


@app.command()
def profile(name: Annotated[str, typer.Argument(metavar="NAME", help="A file of profiles/, without .yaml.")]) -> None:
    """Lay profiles/NAME.yaml over params.yaml and print what changes; `git restore params.yaml` undoes it.

    Example: python src/cli.py profile smoke
    """
    from dualprior.pipeline.config import apply_profile

    print("\n".join(apply_profile(ROOT, name)) or f"params.yaml already agrees with profile {name}")


@app.command()
def readme(check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when a page is stale.")] = False) -> None:
    """Write README.md and report/report.md from their templates and the metrics, and docs/cli.md from the commands.

    Example: python src/cli.py readme --check
    """
    from typer.cli import get_docs_for_click

    from dualprior.common.io import read_text, write_text
    from dualprior.evaluation.report import render

    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="src/cli.py")
    manual = get_docs_for_click(obj=command, ctx=context, name="python src/cli.py", title="The command line").rstrip() + "\n"
    for file, text in {**render(ROOT), ROOT / "docs/cli.md": manual}.items():
        if file.exists() and read_text(file) == text:
            continue
        if check:
            raise UserError(f"{file} is not in step with the metrics; run `python src/cli.py readme`")
        write_text(file, text)


def _stage_module(stage: str, study: str | None):
    """The module of a stage: a study's own, or the default experiment's of that name. Raises UserError, with the legal ones listed."""
    studies = sorted(file.parent.name for file in (ROOT / "studies").glob("*/dvc.yaml"))
    if study is not None and study not in studies:
        raise UserError(f"study '{study}' does not exist; {choices(study, studies)}")
    from dualprior.pipeline.config import read_yaml

    file = ROOT / "studies" / study / "dvc.yaml" if study else ROOT / "dvc.yaml"
    known = list(read_yaml(file)["stages"])
    if stage not in known:
        raise UserError(f"stage '{stage}' is not in {file}; {choices(stage, known)}")
    sys.path.insert(0, str(ROOT.resolve()))
    own = f"studies.{study}.{stage}"
    return importlib.import_module(own if study and find_spec(own) else f"dualprior.pipeline.{stage}")


def _set_threads() -> None:
    """Before torch is imported, or it does not listen."""
    threads = os.environ.get("DUALPRIOR_THREADS")
    if threads is None:
        return
    if not threads.isdecimal() or int(threads) < 1:
        raise UserError(f"DUALPRIOR_THREADS={threads} is not a number of threads; set it to 1 or more")
    os.environ.update(OMP_NUM_THREADS=threads, MKL_NUM_THREADS=threads)


def _interrupt(*_signal) -> None:
    raise KeyboardInterrupt


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 2 a mistake of the user's, 1 the disk or another failure, 130 interrupted."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    signal.signal(signal.SIGTERM, _interrupt)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file's name may be no text
    try:
        return app(arguments, prog_name="src/cli.py", standalone_mode=False) or 0
    except UserError as error:
        return _fail(str(error), 2)
    except typer.TyperException as error:
        return _fail(f"{error.format_message()}; see `python src/cli.py --help`", error.exit_code)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _fail("the disk is full; free some space and run again", 1)


def _fail(message: str, code: int) -> int:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    if sys.platform == "linux" and not KEEP_MEMORY.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**KEEP_MEMORY, **os.environ})
    sys.exit(main())
