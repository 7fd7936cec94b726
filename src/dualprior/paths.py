"""Where every artefact lies. Stages are handed a `Paths`; none depends on this file, so a new artefact makes none stale."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


def _file(name: str) -> property:
    """A file below the folder that the first part of `name` stands for: data, models, or the pipeline's metrics and plots."""
    return property(lambda paths: paths.place(name))


def _of_root(name: str) -> property:
    return property(lambda paths: paths.root / name)


def _of_task(name: str) -> Callable[["Paths", str], Path]:
    return lambda paths, task: paths.place(name.format(task=task))


@dataclass(frozen=True)
class Paths:
    """Every file a stage reads or writes, below `root`; `scratch` is the stage's own folder for checkpoints.

    A file of the whole experiment is an attribute, `paths.train`; one of a task is a method, `paths.dip("sr4")`.
    pipeline: the folder of the stage's dvc.yaml, "studies/stopping" for a study; its metrics and plots lie there.
    data, models: where those lie; a study that repeats stages of the default experiment gives them other folders.
    """

    root: Path
    scratch: Path | None = None
    pipeline: str = "."
    data: str = "data"
    models: str = "models"

    def place(self, name: str) -> Path:
        """"data/x" in the data's folder, "models/x" in the models', anything else in the pipeline's."""
        head, _, rest = name.partition("/")
        folder = {"data": self.data, "models": self.models}.get(head)
        return self.root / self.pipeline / name if folder is None else self.root / folder / rest

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

    timing = _file("metrics/timing.json")  # these three by the command line, not by a stage
    memory = _file("metrics/memory.json")
    machine = _file("metrics/machine.json")

    stopping_measured = _of_task("data/stopping/measured/{task}.safetensors")
    stopping_fits = _of_task("data/stopping/fits/{task}")
    stopping_guided = _of_task("data/stopping/guided/{task}")
    stopping_picks = _file("data/stopping/picks.csv")
    stopping_estimates = _file("data/stopping/estimates.csv")
    stopping_costs = _file("data/stopping/costs.csv")

    realism = _of_task("data/hybrid/realism/{task}.safetensors")
    realism_info = _of_task("data/hybrid/realism/{task}.json")
    classic = _of_task("data/hybrid/classic/{task}.safetensors")
    classic_info = _of_task("data/hybrid/classic/{task}.json")
    meta = _file("models/hybrid/meta.safetensors")
    quick = _of_task("data/hybrid/quick/{task}.safetensors")
    quick_info = _of_task("data/hybrid/quick/{task}.json")
    contraction = _of_task("data/hybrid/contraction/{task}.csv")
    report_laws = _file("metrics/laws.csv")
    report_frames = _file("data/report/frames.npz")
    report_page = _of_root("report/report.html")
    report_text = _of_root("report/report.md")
    report_template = _of_root("report/report.md.jinja")
    report_frame = _of_root("report/page.html.jinja")
    readme = _of_root("README.md")
    requirements = _of_root("requirements.lock")
    study_tables = _file("metrics/tables.md")  # of a study: every table with its reading

    def of(self, pipeline: str) -> "Paths":
        """With the metrics and plots of another pipeline."""
        return replace(self, pipeline=pipeline)

    @property
    def default(self) -> "Paths":
        return self.of(".")

    def report_plot(self, name: str) -> Path:
        return self.root / f"report/plots/{name}.png"

    def study_table(self, name: str) -> Path:
        return self.place(f"metrics/{name}.csv")

    def study_plot(self, name: str) -> Path:
        return self.place(f"plots/{name}.png")

    def ablation(self, knob: str, suffix: str) -> Path:
        """suffix: csv or md (metrics), png (plot)."""
        return self.place(f"{'plots' if suffix == 'png' else 'metrics'}/ablation_{knob}.{suffix}")

    def audit(self, suffix: str) -> Path:
        """suffix: csv or md."""
        return self.place(f"metrics/leak_audit.{suffix}")
