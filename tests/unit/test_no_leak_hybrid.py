"""The stages of the wide study, run on crops of which the clean ones are deleted where nothing may read them."""

import numpy as np
import pytest
import tiny_hybrid
import torch
from dualprior.studies.hybrid import (
    ablate,
    classic,
    contract,
    crops,
    degrade,
    fit_dip,
    judge,
    meta,
    patches,
    places,
    quick,
    readings,
    realism,
    restore,
    train,
)
from tiny_hybrid import PRIOR, STUDY, TASKS

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.evaluation.image_metrics import ORACLE
from dualprior.pipeline.ablate import KNOBS as ABLATIONS

CROPS, SEEDS = STUDY.crops.test, STUDY.crops.seeds
KNOBS = list(readings.KNOBS)


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Paths:
    """Every stage; the clean test crops are gone while the priors are fitted and trained, and while they restore."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALPRIOR_DEVICE", "cpu")
        paths = tiny_hybrid.start(tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("scratch"))
        inside = places.crops(paths)
        tiny_hybrid.run(crops, paths)
        for task in TASKS:
            tiny_hybrid.run(degrade, paths, task)
        clean = {split: io.read_array(getattr(inside, split)).copy() for split in ("val", "test")}
        inside.test.unlink()
        inside.val.unlink()
        for task in TASKS:
            tiny_hybrid.run(fit_dip, paths, task)
        tiny_hybrid.run(patches, paths, PRIOR)
        tiny_hybrid.run(train, paths, PRIOR)
        io.write_array(inside.val, clean["val"])
        for name in STUDY.runs:
            tiny_hybrid.run(restore, paths, name)
        for task in STUDY.realism.tasks:
            tiny_hybrid.run(realism, paths, task)
        for task in TASKS:
            tiny_hybrid.run(contract, paths, task)
            tiny_hybrid.run(classic, paths, task)
        tiny_hybrid.run(meta, paths)
        for task in STUDY.meta.tasks:
            tiny_hybrid.run(quick, paths, task)
        assert not inside.test.exists()
        io.write_array(inside.test, clean["test"])
        for knob in KNOBS:
            tiny_hybrid.run(ablate, paths, knob)
        tiny_hybrid.run(judge, paths)
    return paths


def test_every_crop_stands_once_for_every_seed_under_a_name_of_its_own(done):
    inside = places.crops(done)
    test = io.read_array(inside.test)
    manifest = io.read_table(inside.manifest).query("split == 'test'")
    assert len(test) == len(manifest) == manifest["image"].nunique() == CROPS * SEEDS
    assert manifest["index"].tolist() == list(range(CROPS * SEEDS))
    np.testing.assert_array_equal(test[:CROPS], test[CROPS:])
    assert manifest["seed"].tolist() == [seed for seed in range(SEEDS) for _ in range(CROPS)]


def test_test_crops_are_those_after_the_ones_passed_over(done):
    """In the order of a study that passes none over, where the two photographs take turns; under the names they have there."""
    names = io.read_table(places.crops(done).manifest).query("split == 'test' and seed == 0")["crop"]
    assert STUDY.crops.skip == 1
    assert names.tolist() == ["test_china_00", "test_chelsea_01"]


def test_every_knob_has_a_reading_and_a_value_in_use(done):
    assert set(KNOBS) == set(ABLATIONS)
    for knob in KNOBS:
        table = io.read_table(done.ablation(knob, "csv"))
        assert set(table["split"]) == {"val", "test"}
        text = readings.read_knob(knob, table)
        assert text.startswith("Validation images would choose ")


def test_seeds_share_a_crop_and_neither_noise_nor_fit(done):
    inside = places.crops(done)
    y = io.read_tensors(inside.measurement("denoise50"))["test_y"]
    assert (y[0] - y[CROPS]).abs().mean() > 0.1
    sr = io.read_tensors(inside.measurement("sr4"))["test_y"]
    assert torch.equal(sr[0], sr[CROPS])
    fits = io.read_tensors(inside.dip("sr4"))["test_stopped"]
    assert not torch.equal(fits[0], fits[CROPS])


def test_a_weaker_prior_has_its_share_of_the_patches_and_weights_of_its_own(done):
    own = places.prior(done, PRIOR)
    whole = io.read_array(done.train)
    np.testing.assert_array_equal(io.read_array(own.train), whole[::10])
    ours, theirs = io.read_tensors(own.model), io.read_tensors(done.model)
    assert any(ours[name].shape != theirs[name].shape or not torch.equal(ours[name], theirs[name]) for name in ours)
    assert io.read_json(own.train_metrics)[judge.STRENGTH] > 0


def test_a_run_restores_as_many_measurements_as_it_is_told(done):
    inside = places.crops(done)
    for name, run in STUDY.runs.items():
        assert len(io.read_tensors(inside.restored(name))["hybrid"]) == (run.images or CROPS * SEEDS)


def test_rows_are_judged_under_the_crop_with_all_its_seeds(done):
    rows = io.read_table(done.per_image)
    full = rows[(rows["prior"] == "full") & (rows["method"] == "hybrid") & (rows["task"] == "sr4")]
    assert full.groupby("image")["seed"].nunique().tolist() == [SEEDS] * CROPS
    weak = rows[(rows["prior"] == PRIOR) & (rows["method"] == "hybrid")]
    assert weak["seed"].tolist() == [0] * STUDY.runs[f"{PRIOR}-denoise50"].images
    best = rows[rows["method"] == ORACLE].set_index(["task", "prior", "image", "seed"])["psnr"]
    stopped = rows[rows["method"] == "dip_stopped"].set_index(["task", "prior", "image", "seed"])["psnr"]
    assert (best - stopped.reindex(best.index)).min() >= -1e-3  # float16 on disk


def test_claims_count_crops_and_not_seeds(done):
    claims = io.read_json(done.claims)
    assert {f"hybrid_gain_db_{task}" for task in TASKS} < set(claims)
    assert f"{CROPS} images" in claims["hybrid_gain_db_sr4"]["reading"]
    assert {"start_rule_share", "weak_prior_gain_db", "weak_prior_vs_control_db", "hybrid_nfe_to_fid_sr4"} < set(claims)


def test_the_page_has_every_table_with_a_sentence(done):
    page = io.read_text(done.study_tables)
    for knob in KNOBS:
        heading = f"## {readings.KNOBS[knob]}\n"
        assert heading in page
        assert page.split(heading)[1].lstrip().startswith("Validation images would choose")
    assert "nan" not in page.lower()


def as_text(value) -> str:
    return value if isinstance(value, str) else f"{value:g}"


def test_the_noise_and_level_of_a_sample_are_chosen_by_likeness_on_validation_crops_alone(done, monkeypatch):
    """Fewer test measurements change no choice; every candidate shows validation crops, and the nearest of them is taken."""
    (task,), inside = STUDY.realism.tasks, places.crops(done)
    before, asked = io.read_json(done.realism_info(task))["choices"], []
    nearest = realism.nearest

    def watched(tried, likeness):
        asked.append({setting: likeness(estimate.x.numpy()) for setting, estimate in tried.items()})
        assert all(len(estimate.x) == len(io.read_array(inside.val)) for estimate in tried.values())
        return nearest(tried, likeness)

    monkeypatch.setattr(realism, "nearest", watched)
    fewer = STUDY.realism.model_copy(update={"images": 1})
    monkeypatch.setattr(tiny_hybrid, "STUDY", STUDY.model_copy(update={"realism": fewer}))
    tiny_hybrid.run(realism, done, task)
    choices = io.read_json(done.realism_info(task))["choices"]
    assert choices == before
    ways = [(choice.get("scale"), choice["zeta"]) for choice in choices.values()]
    for (scale, zeta), distances in zip(ways, asked, strict=True):
        assert len(set(distances.values())) == len(distances) > 1
        assert distances[zeta if scale is None else (scale, zeta)] == min(distances.values())
    monkeypatch.undo()
    tiny_hybrid.run(realism, done, task)


@pytest.mark.parametrize("knob", KNOBS)
def test_every_knob_is_swept_on_validation_and_on_test_images(done, knob):
    table = io.read_table(done.ablation(knob, "csv"))
    assert set(table["split"]) == {"val", "test"}
    main = table[table["series"] == readings.MAIN_SERIES[knob]]
    if knob not in ("dip_steps", "start_kind"):  # there the nearest snapshots, and what the task has
        asked = STUDY.ablate.interleaved.weights if knob == "interleaved" else getattr(STUDY.ablate, knob)
        assert set(map(as_text, main["value"])) == set(map(as_text, asked))
    counts = main.groupby(["task", "split"]).size().unstack()
    assert (counts["val"] == counts["test"]).all()
    assert done.ablation(knob, "png").stat().st_size > 5000


@pytest.mark.parametrize("name", ["summary", "gains", "priors", "realism", "contraction", "quick"])
def test_every_figure_is_drawn(done, name):
    assert done.study_plot(name).stat().st_size > 5000
