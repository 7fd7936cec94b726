"""Where every artefact lies. Stages are handed a `Paths`; none depends on this file, so a new artefact makes none stale."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def _file(name: str) -> property:
    return property(lambda paths: paths.root / name)


def _of_task(name: str) -> Callable[["Paths", str], Path]:
    return lambda paths, task: paths.root / name.format(task=task)


def _of_pipeline(name: str) -> property:
    return property(lambda paths: paths.root / paths.pipeline / name)


@dataclass(frozen=True)
class Paths:
    """Every file a stage reads or writes, below `root`; `scratch` is the stage's own folder for checkpoints.

    A file of the whole experiment is an attribute, `paths.train`; one of a task is a method, `paths.dip("sr4")`.
    pipeline: the folder of the stage's dvc.yaml, "studies/stopping" for a study.
    """

    root: Path
    scratch: Path | None = None
    pipeline: str = "."

    train = _file("data/train.npy")
    val = _file("data/val.npy")
    test = _file("data/test.npy")  # clean: for preparing, degrading and judging; restore and fit_dip never read it
    manifest = _file("data/manifest.csv")
    contact_sheet = _file("plots/contact_sheet.png")

    measurement = _of_task("data/measurements/{task}.safetensors")

    model = _file("models/ddpm.safetensors")
    model_config = _file("models/ddpm.json")
    train_metrics = _file("metrics/train_ddpm.json")
    train_curve = _file("metrics/train_curve.csv")
    train_plot = _file("plots/train_ddpm.png")

    dip = _of_task("data/dip/{task}.safetensors")
    dip_info = _of_task("data/dip/{task}.json")
    dip_trace = _of_task("data/dip/{task}.csv")

    restored = _of_task("data/restored/{task}.safetensors")
    restored_info = _of_task("data/restored/{task}.json")

    generated = _file("data/generated.npz")
    generated_info = _file("data/generated.json")
    generate_plot = _file("plots/generate.png")

    task_rows = _of_task("metrics/tasks/{task}.csv")
    dip_psnr = _of_task("metrics/tasks/dip_psnr_{task}.csv")
    task_metrics = _of_task("metrics/tasks/{task}.json")
    restore_plot = _of_task("plots/restore_{task}.png")
    trace_plot = _of_task("plots/dip_trace_{task}.png")
    generation_metrics = _file("metrics/generation.json")
    generation_plot = _file("plots/generation_quality.png")

    summary = _file("metrics/summary.json")
    per_image = _file("metrics/per_image.csv")
    claims = _file("metrics/claims.json")
    results_table = _file("metrics/results.md")
    summary_plot = _file("plots/summary.png")
    gains_plot = _file("plots/gains.png")

    timing = _of_pipeline("metrics/timing.json")  # these three by the command line, not by a stage
    memory = _of_pipeline("metrics/memory.json")
    machine = _of_pipeline("metrics/machine.json")

    stopping_measured = _of_task("data/stopping/measured/{task}.safetensors")
    stopping_fits = _of_task("data/stopping/fits/{task}")
    stopping_guided = _of_task("data/stopping/guided/{task}")
    stopping_picks = _file("data/stopping/picks.csv")
    stopping_estimates = _file("data/stopping/estimates.csv")
    stopping_costs = _file("data/stopping/costs.csv")
    stopping_claims = _file("studies/stopping/metrics/claims.json")
    stopping_tables = _file("studies/stopping/metrics/tables.md")
    stopping_summary = _file("studies/stopping/metrics/summary.json")

    def stopping_rows(self, name: str) -> Path:
        """A table of the study of stopping rules."""
        return self.root / f"studies/stopping/metrics/{name}.csv"

    def stopping_plot(self, name: str) -> Path:
        return self.root / f"studies/stopping/plots/{name}.png"

    def ablation(self, knob: str, suffix: str) -> Path:
        """suffix: csv or md (metrics), png (plot)."""
        return self.root / ("plots" if suffix == "png" else "metrics") / f"ablation_{knob}.{suffix}"

    def audit(self, suffix: str) -> Path:
        """suffix: csv or md."""
        return self.root / f"metrics/leak_audit.{suffix}"
