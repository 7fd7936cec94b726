"""What bad input and sudden death do to the project: writes benchmarks/results/robustness.json.

    PYTHONPATH=src:tests python benchmarks/robustness.py [fuzz] [kills] [disk]

fuzz: pictures, masks, folders and parameters that hypothesis makes up; each must end in a result or in one line, write nothing
outside its own output folder, and leave every input as it was. kills: SIGKILL at random moments in every stage of the smoke
profile, then `dvc repro`: the result must be that of an undisturbed run. disk (Linux, root): the same after a full disk and with
a cache that cannot be written. Half an hour on two cores.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from io import BytesIO, StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from workspace import Workspace, new_workspace

import cli
from dualprior.common.errors import UserError
from dualprior.common.io import write_json
from dualprior.common.params import Data
from dualprior.common.paths import Paths
from dualprior.pipeline import degrade, prepare
from dualprior.pipeline.config import apply_profile, check_params, read_yaml

RESULTS = Path("benchmarks/results/robustness.json")
KILLS_A_STAGE = 3
# what a run makes that holds no seconds
MADE = ("data/*.npy", "data/manifest.csv", "data/measurements/*/*", "data/dip/*/fits.safetensors", "data/restored/*/images.safetensors",
        "data/generated/samples.npz", "data/ablation/images.safetensors", "data/audit/images.safetensors", "models/ddpm.safetensors",
        "metrics/summary.json", "metrics/train.json", "metrics/train_curve.csv")  # fmt: skip
counts: dict[str, int] = {}


def count(what: str) -> None:
    counts[what] = counts.get(what, 0) + 1


def digest(folder: Path, patterns=("**/*",)) -> dict[str, str]:
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


# --- fuzz --------------------------------------------------------------------------------------------------------


@st.composite
def picture_bytes(draw) -> tuple[str, bytes]:
    """(ending, bytes): a picture of any small size, kind and format, at times cut short or with bytes changed."""
    mode = draw(st.sampled_from(["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"]))
    ending = draw(st.sampled_from([".png", ".jpg", ".tif", ".bmp", ".webp", ".gif"]))
    least = draw(st.sampled_from([1, 16, 24]))
    height, width = draw(st.integers(least, 70)), draw(st.integers(least, 70))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    top = draw(st.sampled_from([1, 40, 256, 256]))
    image = Image.fromarray(rng.integers(0, top, (height, width, 3), dtype=np.uint8))
    deep = rng.integers(0, 256 * top, (height, width)).astype(np.uint16)
    image = Image.fromarray(deep) if mode == "I;16" else image.convert(mode)
    file = BytesIO()
    try:
        exif = Image.Exif()
        exif[0x0112] = draw(st.integers(0, 9))
        image.save(file, format=Image.registered_extensions()[ending], exif=exif.tobytes())
    except (OSError, ValueError, KeyError):
        image.convert("RGB").save(file, format="PNG")
    data = bytearray(file.getvalue())
    hurt = draw(st.sampled_from(["no"] * 7 + ["cut", "bytes", "empty"]))
    if hurt == "cut":
        data = data[: draw(st.integers(0, len(data)))]
    elif hurt == "bytes":
        for place in draw(st.lists(st.integers(0, len(data) - 1), max_size=8)):
            data[place] ^= draw(st.integers(1, 255))
    return ending, bytes(data if hurt != "empty" else b"")


options = st.fixed_dictionaries(
    {"--task": st.sampled_from(["denoise", "sr", "inpaint", "deblur", "deblurr"])},
    optional={
        "--noise": st.sampled_from(["5", "10", "15", "25", "30", "50", "255", "nan", "inf", "-1", "1e-9"]),
        "--scale": st.sampled_from(["2", "3", "4", "5"]),
        "--blur": st.sampled_from(["1.6", "motion:5:30", "mask.png"] * 4 + ["0", "1e9", "motion:a:b", "nowhere", ""]),
        "--mask": st.sampled_from(["mask.png", "picture", "nowhere.png"]),
        "--mask-color": st.sampled_from(["#000000", "magenta", "no colour"]),
        "--seed": st.sampled_from(["0", "7"]),
    },
)
quiet = settings(deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def told(arguments: list[str]) -> None:
    """Run the command line in this process: it must end in 0, 1 or 2 and never in an exception."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.main(arguments)
    assert code in (0, 1, 2), code
    assert "Traceback" not in err.getvalue()
    assert code == 0 or err.getvalue().count("error: ") == 1, err.getvalue()
    count("restore: done" if code == 0 else "restore: refused in one line")


@settings(quiet, max_examples=300)
@given(picture_bytes(), picture_bytes(), options, st.booleans())
def fuzz_restore(picture, mask, chosen, fits):
    """fits: the mask has the picture's size, and marks a third of it as lost."""
    with tempfile.TemporaryDirectory() as name:
        here = Path(name) / "in"
        here.mkdir()
        (here / f"picture{picture[0]}").write_bytes(picture[1])
        (here / f"mask{mask[0]}").write_bytes(mask[1])
        if fits:
            with suppress(OSError, ValueError, SyntaxError), Image.open(here / f"picture{picture[0]}") as image:
                lost = np.random.default_rng(0).random((image.height, image.width)) < 1 / 3
                mask = (".png", b"")
                Image.fromarray(np.uint8(255 * lost)).save(here / "mask.png")
                chosen = {"--mask": "mask.png"} | chosen
        before = digest(here)
        arguments = ["restore", str(here / f"picture{picture[0]}"), "-o", str(Path(name) / "out.png"), "--fast"]
        for option, value in chosen.items():
            file = {"mask.png": here / f"mask{mask[0]}", "picture": here / f"picture{picture[0]}"}.get(value, value)
            arguments += [option, str(file)]
        told(arguments)
        assert digest(here) == before
        assert {file.name for file in Path(name).iterdir()} <= {"in", "out.png"}


@settings(quiet, max_examples=100)
@given(
    st.lists(st.tuples(st.binary(min_size=1, max_size=12), picture_bytes()), min_size=1, max_size=12),
    st.sampled_from(["folder", "archive"]),
)
def fuzz_folders(files, source):
    """Folders of made-up names and pictures, as data of the experiment."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "mine"
        folder.mkdir()
        for raw, (ending, data) in files:
            safe = bytes(byte for byte in raw if byte not in b"/\0") or b"a"
            (folder / f"{os.fsdecode(safe)}{ending}").write_bytes(data)
        before = digest(folder)
        if source == "archive":
            shutil.make_archive(Path(name) / "mine", "tar", folder)
        where = "mine" if source == "folder" else "mine.tar"
        sizes = {"patch_size": 8, "train_patches": 16, "scales": (1.0,), "image_size": 16, "val_images": 2, "test_images": 2}
        own = {"source": source, "folder": where, "seed": 0, **sizes}
        try:
            prepare.run(SimpleNamespace(data=Data(**own)), Paths(Path(name)))
            count("folders: done")
        except UserError:
            count("folders: refused in one line")
        assert digest(folder) == before
        assert {file.name for file in Path(name).iterdir()} <= {"mine", "mine.tar", "data", "metrics", ".scratch"}


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**40), 2**40), st.floats(), st.text(max_size=5), st.lists(st.integers(-3, 5000), max_size=4)
)


@settings(quiet, max_examples=200)
@given(st.data())
def fuzz_params(data):
    """One to three parameters replaced: accepted, and then they work, or refused in one line that names the file."""
    params = read_yaml(Path("params.yaml"))
    for _ in range(data.draw(st.integers(1, 2))):
        section = params
        while True:
            key = data.draw(st.sampled_from(sorted(section, key=str)))
            if not isinstance(section[key], dict) or data.draw(st.integers(0, 9)) == 0:
                break
            section = section[key]
        value = section[key]
        near = st.sampled_from([0.1, 0.5, 2, 10]).map(lambda by, value=value: type(value)(value * by))
        section[key] = data.draw(near if isinstance(value, int | float) and not isinstance(value, bool) else anything)
    try:
        checked = check_params(params)
    except UserError as error:
        count("params: refused in one line")
        said = str(error)
        assert "\n" not in said
        assert said.startswith("params.yaml: ")
        return
    small = checked.data.model_copy(update={"train_patches": 16})
    config = SimpleNamespace(data=small, degrade=checked.degrade, tasks=checked.tasks)
    with tempfile.TemporaryDirectory() as name:
        try:
            prepare.run(config, Paths(Path(name)))
            degrade.run(config, Paths(Path(name)))
            count("params: accepted, data and measurements made")
        except UserError:
            count("params: refused in one line by the stage that reads them")


# --- kills -------------------------------------------------------------------------------------------------------


def fresh(folder: Path) -> Workspace:
    made = new_workspace(folder)
    apply_profile(made.root, "smoke")
    made.commit()
    return made


def repro(space: Workspace, *targets: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "dvc", "repro", *targets]
    return subprocess.Popen(
        command, cwd=space.root, env=space.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def kills(folder: Path) -> None:
    (folder / "alone").mkdir()
    alone = fresh(folder / "alone")
    disturbed = alone.copy(folder / "disturbed")
    begin = time.perf_counter()
    order = alone.repro()
    print(f"undisturbed: {time.perf_counter() - begin:.0f} s", flush=True)
    seconds = json.loads((alone.root / "metrics/run_statistics.json").read_text())
    rng = random.Random(0)
    for stage in order:
        usual = seconds[stage]["seconds"]
        for _ in range(KILLS_A_STAGE):
            process = repro(disturbed, stage)
            for line in process.stdout:
                if line.startswith(f"Running stage '{stage}'"):
                    break
            time.sleep(rng.uniform(0, usual))
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                count("kills")
            process.communicate()
        disturbed.dvc("repro", stage)
        print(stage, counts.get("kills"), flush=True)
    disturbed.dvc("repro")
    same(alone, disturbed, "kills")


def same(alone: Workspace, other: Workspace, what: str) -> None:
    mine, theirs = digest(alone.root, MADE), digest(other.root, MADE)
    assert len(mine) > 15
    different = [name for name in mine if mine[name] != theirs.get(name)]
    print(what, "files compared:", len(mine), "different:", different, flush=True)
    counts[f"{what}: files equal to the undisturbed run's"] = len(mine) - len(different)
    counts[f"{what}: files that differ"] = len(different)


# --- full disk, read-only cache ----------------------------------------------------------------------------------


@contextmanager
def mounted(where: Path, size: str):
    where.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", where], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", where], check=True)


def disk(folder: Path) -> None:
    """The data fill a small disk; the cache is a disk that is mounted read-only. Both are mended and the run goes on."""
    (folder / "whole").mkdir()
    whole = fresh(folder / "whole")
    full, locked = whole.copy(folder / "full"), whole.copy(folder / "locked")
    whole.dvc("repro", "train_ddpm", "degrade")
    with mounted(full.root / "data", "100k"):
        outcome = full.run(sys.executable, "src/cli.py", "run", "prepare", fails=True)
        assert outcome.code == 2
        assert "the disk is full" in outcome.one_line(), outcome
        count("full disk: told in one line")
    full.dvc("repro", "train_ddpm", "degrade")
    same(whole, full, "full disk")
    cache = locked.root / ".dvc/cache"
    with mounted(cache, "64m"):
        subprocess.run(["mount", "-o", "remount,ro", cache], check=True)
        outcome = locked.run(sys.executable, "-m", "dvc", "repro", "prepare", fails=True)
        assert outcome.code != 0
        count("read-only cache: refused")
    locked.dvc("repro", "train_ddpm", "degrade")
    same(whole, locked, "read-only cache")


def main(wanted: list[str]) -> None:
    fuzzes = {"fuzz": [fuzz_restore, fuzz_folders, fuzz_params]}
    for what in wanted or ["fuzz", "kills", "disk"]:
        counts.clear()
        begin = time.perf_counter()
        if what in fuzzes:
            for each in fuzzes[what]:
                each()
            counts["cases"] = sum(counts.values())
        else:
            with tempfile.TemporaryDirectory() as name:
                {"kills": kills, "disk": disk}[what](Path(name))
        known = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        write_json(RESULTS, known | {what: dict(sorted(counts.items())) | {"seconds": round(time.perf_counter() - begin)}})
        print(what, counts, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
