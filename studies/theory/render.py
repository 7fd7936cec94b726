"""Write the report: Markdown for where repositories are read, and one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jinja2 import Environment, StrictUndefined
from matplotlib.figure import Figure
from studies.hybrid import readings as wide_readings
from studies.stopping import readings as stopping_readings
from studies.theory import page, words
from studies.theory.params import Laws, Pictures

from dualprior.answers import answers
from dualprior.common import run_statistics as usage
from dualprior.common.io import read_array, read_arrays, read_json, read_table, read_tensors_as_arrays, read_text, write_figure, write_text
from dualprior.common.params import DDPM, DIP, Data, Hybrid, Task
from dualprior.data.pixels import pixels_01, to_01, to_uint8
from dualprior.evaluation import comparisons, image_metrics, tables
from dualprior.evaluation.image_grid import Panel, sheet

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("laws", "pictures", "tasks", "data", "ddpm", "dip", "hybrid")
STOPPING = ("rules", "networks", "levels", "ladders", "tasks", "guided")  # tables of the study of stopping rules that are shown
PINS = ("torch", "dvc", "typer", "pandas", "scikit-image", "torch-fidelity", "seaborn", "numpy")


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    laws: Laws = config.laws
    pictures: Pictures = config.pictures
    tasks: dict[str, Task] = {name: config.task(name) for name in config.task_names()}
    worst = failures(read_table(paths.default.per_image), pictures.worst)
    write_figure(paths.report_plot("worst"), worst_sheet(paths, worst))
    data: Data = config.data
    ddpm: DDPM = config.ddpm
    dip: DIP = config.dip
    hybrid: Hybrid = config.hybrid
    text = markdown(paths, tuple(tasks), laws, worst, words.of_setup(data, ddpm, dip, hybrid))
    write_text(paths.report_text, text)
    widgets = {name: sliders(paths, name, pictures) for name in tasks}
    write_text(paths.report_page, page.html(text, read_text(paths.report_frame), paths.report_text.parent, widgets))


def markdown(paths: Paths, tasks: tuple[str, ...], laws: Laws, worst: pd.DataFrame, trained: str) -> str:
    """The report, from files that are all committed. worst: of `failures`; trained: of `words.of_setup`."""
    template = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True).from_string(read_text(paths.report_template))
    return template.render(tasks=tasks, trained=trained, **numbers(paths, laws, worst))


def numbers(paths: Paths, laws: Laws, worst: pd.DataFrame) -> dict:
    """Everything that the template names."""
    wide, stopping, default = paths.of("studies/hybrid"), paths.of("studies/stopping"), paths.default
    wide_claims, rules = read_json(wide.claims), read_json(stopping.claims)
    rows = read_table(wide.per_image).query("prior == 'full'")
    audit = read_table(default.audit("csv"))
    generation = read_json(default.generation_metrics)
    found = {name: read_table(wide.study_table(name)) for name in ("groups", "priors", "weights", "realism", "contraction", "quick")}
    blends = wide_readings.by_run(found["weights"])
    return {
        "answers": answers(wide_claims, rules, rows, found["groups"]),
        "crops": rows["image"].nunique(),
        "seeds": rows["seed"].nunique(),
        "laws": words.of_laws(read_table(paths.report_laws), laws),
        "results": tables.render_results(read_json(wide.summary)),
        "claims": tables.render_claims(wide_claims),
        "groups": {"reading": wide_readings.read_groups(found["groups"]), "table": tables.markdown(found["groups"])},
        "limits": section(read_text(paths.readme), "Limits"),
        "priors": {"reading": wide_readings.read_priors(found["priors"]), "table": tables.markdown(found["priors"])},
        "weights": {"reading": wide_readings.read_weights(found["weights"]), "table": tables.markdown(blends)},
        "realism": {"reading": wide_readings.read_realism(found["realism"]), "table": tables.markdown(found["realism"])},
        "contraction": {"reading": wide_readings.read_contraction(found["contraction"])},
        "quick": {"reading": wide_readings.read_quick(found["quick"])},
        "knobs": [_knob(wide, knob) for knob in wide_readings.KNOBS if wide.ablation(knob, "csv").exists()],
        "stopping_claims": tables.render_claims(rules),
        "stopping": [_stopping(stopping, name) for name in STOPPING],
        "generation": words.of_generation(generation),
        "audit": {"table": tables.markdown(audit), "reading": words.of_audit(audit)},
        "failures": {"table": tables.markdown(worst.drop(columns="index")), "reading": words.of_failures(worst)},
        "references": words.REFERENCES,
        "timing": usage.table(default),
        "versions": ", ".join(pinned(read_text(paths.requirements))),
    }


def _knob(wide: Paths, knob: str) -> dict:
    table = read_table(wide.ablation(knob, "csv"))
    return {
        "name": knob, "title": wide_readings.KNOBS[knob], "reading": wide_readings.read_knob(knob, table),
        "table": tables.markdown(wide_readings.by_value(knob, table)),
    }  # fmt: skip


def _stopping(stopping: Paths, name: str) -> dict:
    table = read_table(stopping.study_table(name))
    reading = stopping_readings.reading(name, table)
    if name == "tasks":
        table, reading = stopping_readings.by_rule(table), f"{reading} Mean loss, in brackets what is kept, dB:"
    return {"title": stopping_readings.HEADINGS[name], "reading": reading, "table": stopping_readings.markdown(table)}


def section(text: str, heading: str) -> str:
    """What stands under a second-level heading of a Markdown text."""
    return text.split(f"\n## {heading}\n")[1].split("\n## ")[0].strip()


def pinned(lock: str) -> list[str]:
    """name version of the packages in `PINS`, from the lock file."""
    lines = [line.partition(";")[0].strip().partition("==") for line in lock.splitlines()]
    known = {name: version for name, equal, version in lines if equal}
    return [f"{name} {known[name]}" for name in PINS if name in known]


def failures(rows: pd.DataFrame, count: int) -> pd.DataFrame:
    """The `count` crops of every task on which the hybrid gains least over its strongest rival; rows: per_image.csv."""
    found = []
    for task, mine in rows.groupby("task", sort=False):
        psnr = image_metrics.by_image(mine, "psnr")
        rival = claims.strongest(psnr, claims.RIVALS)
        gain = (psnr[claims.HYBRID] - psnr[rival]).dropna()
        places = {image: place for place, image in enumerate(psnr.index)}
        for image, value in gain.nsmallest(count).items():
            hybrid, other = psnr.at[image, claims.HYBRID], psnr.at[image, rival]
            row = {"task": task, "crop": image, "index": places[image], "rival": rival}
            found.append(row | {"hybrid, dB": hybrid, "rival, dB": other, "gain, dB": value})
    return pd.DataFrame(found)


def worst_sheet(paths: Paths, worst: pd.DataFrame) -> Figure:
    """Measurement, rival, hybrid and the clean image of every row of `failures`."""
    clean, blocks = pixels_01(read_array(paths.test)), {}
    for task, rows in worst.groupby("task", sort=False):
        images = read_tensors_as_arrays(paths.restored(task))
        panels = []
        for row in rows.to_dict("records"):
            at, crop = row["index"], row["crop"].removeprefix("test_")
            shown = {"input": crop, row["rival"]: f"{row['rival, dB']:.2f} dB", claims.HYBRID: f"{row['hybrid, dB']:.2f} dB"}
            for method, note in shown.items():
                panels.append(Panel(to_01(images[method][at : at + 1])[0], method, note))
            panels.append(Panel(clean[at], "clean"))
        blocks[task] = panels
    return sheet(blocks, 12, side=1.1, above=0.22, below=0.25, font=7)


def sliders(paths: Paths, task: str, pictures: Pictures) -> str:
    """Before and after, along the DIP's steps with the stops marked, and over the start level, for one test crop."""
    at = pictures.image
    restored, fits = read_tensors_as_arrays(paths.restored(task)), read_tensors_as_arrays(paths.dip(task))
    info = read_json(paths.dip_info(task))
    frames = read_arrays(paths.report_frames)
    before, after = (to_uint8(restored[name][at : at + 1])[0] for name in ("input", claims.HYBRID))
    snapshots = to_uint8(fits["test_snapshots"][:, at])
    psnr = image_metrics.psnr(np.repeat(pixels_01(read_array(paths.test))[at : at + 1], len(snapshots), 0), to_01(fits["test_snapshots"][:, at]))
    stop = info["test"]["stop_step"][at]
    nearest = int(np.abs(np.log(np.array(info["steps"]) / stop)).argmin())
    marked = {int(psnr.argmax()): "the oracle's stop", len(snapshots) - 1: "the last step"}
    marked[nearest] = " and ".join(filter(None, (f"stopped without the clean image (step {stop})", marked.get(nearest))))
    steps = [f"step {step}: {value:.1f} dB" for step, value in zip(info["steps"], psnr, strict=True)]
    levels = [f"restart at σ = {level:g}" for level in pictures.levels]
    predicted = float(frames[f"{task}/predicted"])
    start = int(np.abs(np.log(np.array(pictures.levels) / predicted)).argmin())
    nearest_level = {start: f"nearest to the predicted error {predicted:.2f}"}
    boxes = (
        page.before_after(before, after, ("measurement", "hybrid")),
        page.steps(snapshots, steps, "The DIP along its steps", marked),
        page.steps(frames[f"{task}/restarts"], levels, "Restart from the stopped DIP", nearest_level),
    )
    return f'<div class="widgets">{"".join(boxes)}</div>'
