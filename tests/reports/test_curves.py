"""Curves of runs: what the log of each kind means, which rule fires on which course."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from numpy.typing import ArrayLike

from setvae_cli.errors import InputError
from setvae_cli.reports.curves.chart import content
from setvae_cli.reports.curves.diagnosis import Diagnosis
from setvae_cli.reports.curves.draw import draw
from setvae_cli.reports.curves.read import find_runs, read_run, run_name
from setvae_cli.reports.curves.rules import diagnose
from setvae_cli.reports.curves.series import Curves, Series, ordered
from setvae_cli.reports.curves.summary import summarise
from setvae_cli.reports.curves.table import SCHEMA, write_table
from setvae_cli.reports.curves.tags import canonical
from setvae_cli.reports.curves.text import as_text, judge
from setvae_cli.reports.figures import PENS, thinned
from setvae_cli.runs.metrics_log import MetricsLog
from tests.reports.logs import FREE_BITS, LATENTS, beta, original, write_events

COLLAPSE = "posterior collapse"
FLOOR = FREE_BITS * LATENTS


def series(values: ArrayLike, every: int = 10) -> Series:
    held = np.asarray(values, np.float64)
    steps = every * np.arange(1, len(held) + 1)
    return Series(steps, held, steps / 10, np.full(len(held), np.nan))


def curves(**values: ArrayLike) -> Curves:
    """Curves of 200 logged steps, or of 20 validations at every tenth of them."""
    return Curves(
        "run", {tag: series(v, 10 if np.size(v) > 20 else 100) for tag, v in values.items()}
    )


def said(run: Curves, name: str) -> Diagnosis:
    return next(one for one in diagnose(run) if one.name == name)


FALLING = 5 + 20 / (1 + np.arange(200) / 10) + 0.05 * (np.arange(200) % 3)
HEALTHY = {
    "train_loss_step": FALLING,
    "train_recon_step": FALLING,
    "train_kl_step": np.full(200, 6.0),
    "train_beta_step": np.minimum(0.1, np.arange(200) / 400),
    "val_loss": FALLING[9::10] + 1,
    "val_recon": FALLING[9::10] + 1,
    "val_kl": np.full(20, 5.9),
    "val_auc": 0.9 - 0.4 / np.arange(1, 21),
}


def test_a_healthy_course_sets_off_no_rule_and_its_kl_shows_no_health() -> None:
    first, *rest = diagnose(curves(**HEALTHY))
    assert (first.name, first.state) == (COLLAPSE, "unknown")
    assert {one.state for one in rest} == {"clear"}


@pytest.mark.parametrize(
    ("end", "word"), [(0.02, "tell nothing"), (0.3, "partial"), (0.55, "shrinking")]
)
def test_a_kl_that_ends_near_nothing_is_a_collapse(end: float, word: str) -> None:
    kl = np.geomspace(8, end, 200)
    found = said(curves(**HEALTHY | {"train_kl_step": kl, "val_kl": kl[9::10]}), COLLAPSE)
    assert (found.state, word in found.finding) == ("found", True)
    assert "--max-beta" in found.mend


def test_while_beta_rises_a_small_kl_is_no_collapse() -> None:
    rising = HEALTHY | {"train_beta_step": np.arange(200) / 400, "val_kl": np.full(20, 0.01)}
    assert said(curves(**rising), COLLAPSE).state == "unknown"


def test_a_large_kl_is_never_called_health() -> None:
    found = said(curves(**HEALTHY | {"val_kl": np.full(20, 128.0)}), COLLAPSE)
    assert (found.state, "a KL shows no health" in found.finding) == ("unknown", True)


@pytest.mark.parametrize("tag", ["val_recon", "val_pred", "val_forecast"])
def test_validation_that_rises_while_training_falls_is_over_fitting(tag: str) -> None:
    rising = np.concatenate([np.linspace(10, 5, 8), np.linspace(5.2, 8, 12)])
    training = {f"train_{word}_step": FALLING for word in ("pred", "forecast")}
    values = HEALTHY | {tag: rising} | training
    found = said(curves(**values), "over-fitting")
    assert (found.state, "rose from 5 at step 800" in found.finding) == ("found", True)


def test_an_auroc_that_falls_again_is_over_fitting_and_one_dip_is_not() -> None:
    auc = np.concatenate([np.linspace(0.6, 0.85, 10), np.linspace(0.84, 0.75, 10)])
    assert said(curves(**HEALTHY | {"val_auc": auc}), "over-fitting").state == "found"
    dipped = HEALTHY["val_auc"].copy()
    dipped[-1] -= 0.1
    assert said(curves(**HEALTHY | {"val_auc": dipped}), "over-fitting").state == "clear"


def spikes(values: np.ndarray) -> np.ndarray:
    return values + 50 * np.isin(np.arange(200), [60, 100, 150])


def broken(values: np.ndarray) -> np.ndarray:
    return np.where(np.arange(200) > 180, np.nan, values)


def diverging(values: np.ndarray) -> np.ndarray:
    return np.concatenate([values[:150], np.linspace(values[150], 30, 50)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (spikes, "3 jumps, the first at step 610"),
        (broken, "19 values are no numbers, from step 1 820 on"),
        (diverging, "the loss ends at"),
    ],
)
def test_a_loss_that_jumps_diverges_or_is_no_number_is_unstable(
    change: Callable[[np.ndarray], np.ndarray], words: str
) -> None:
    found = said(curves(**HEALTHY | {"train_loss_step": change(FALLING)}), "instability")
    assert found.state == "found"
    assert words in found.finding
    assert "--lr" in found.mend


def test_noise_is_no_jump() -> None:
    noise = np.random.default_rng(0).normal(0, 0.5, 200)
    noisy = HEALTHY | {"train_loss_step": FALLING + noise}
    assert said(curves(**noisy), "instability").state == "clear"


def test_a_loss_that_never_fell_is_stagnation() -> None:
    flat = 20 + np.random.default_rng(0).normal(0, 0.5, 200)
    assert said(curves(**HEALTHY | {"train_loss_step": flat}), "stagnation").state == "found"


def test_validation_without_gain_in_the_second_half_is_stagnation() -> None:
    early = np.concatenate([np.linspace(0.6, 0.8, 5), np.full(15, 0.79)])
    found = said(curves(**HEALTHY | {"val_auc": early}), "stagnation")
    assert (found.state, "step 500 of 2 000" in found.finding) == ("found", True)


def test_an_auroc_near_guessing_is_poor_classification() -> None:
    found = said(curves(**HEALTHY | {"val_auc": np.full(20, 0.55)}), "poor classification")
    assert (found.state, "--pred-weight" in found.mend) == ("found", True)


def test_what_was_not_logged_is_unknown_and_never_made_up() -> None:
    empty = diagnose(curves(train_recon_step=FALLING))
    assert {one.state for one in empty} == {"unknown"}
    summary = summarise(curves(train_recon_step=FALLING))
    assert summary.kl is summary.auc is summary.val_loss is None


def test_the_average_is_that_of_the_last_hundred_optimizer_steps() -> None:
    kl = summarise(curves(train_kl_step=np.arange(200.0))).kl
    assert kl is not None
    assert kl.average == np.arange(190, 200).mean()
    assert (kl.final, kl.step, kl.trend) == (199.0, 2000, "rising")


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("val_auroc", "val_auc"),
        ("train_class_loss_step", "train_pred_step"),
        ("train_loss_epoch", "train_loss_epoch"),
        ("train_loss", "train_loss_step"),
        ("val_recon_epoch", "val_recon"),
        ("grad_norm", "train_grad_norm_step"),
        ("lr-AdamW", "lr"),
        ("val_active_ratio@0.01", "val_active_ratio@0.01"),
        ("test_auc", "test_auc"),
    ],
)
def test_alias_groups_have_one_name_and_steps_and_epochs_stay_apart(theirs: str, ours: str) -> None:
    assert canonical(theirs) == ours


def test_the_weight_on_an_original_kl_is_undone_by_the_logged_beta(tmp_path: Path) -> None:
    points = original(kl=40.0, wobble=0.1, auc="val_auroc")
    write_events(tmp_path / "version_0", points)
    run = read_run(tmp_path / "version_0")
    assert run.legacy
    assert any("legacy" in note for note in run.notes)
    assert "train_kl_step" not in run.series
    weighted, undone = run.series["train_beta_kl_step"], run.series["legacy/train_kl_step"]
    betas = np.array([beta(step) for step in weighted.steps])
    np.testing.assert_allclose(undone.values, weighted.values / betas, rtol=1e-5)
    assert sorted({round(value) for value in undone.values}) == [36, 40, 44]
    assert len(run.series["val_auc"]) == 10
    assert "KL ends at 40 nats" in said(run, COLLAPSE).finding


def test_a_floor_that_hides_the_kl_is_pointed_out(tmp_path: Path) -> None:
    write_events(tmp_path, original())
    found = said(read_run(tmp_path), COLLAPSE)
    assert found.state == "unknown"
    assert f"{FLOOR:.3g} nats" in found.finding
    assert "does not show" in found.finding


def test_the_floor_follows_the_hyper_parameters_beside_the_log(tmp_path: Path) -> None:
    write_events(tmp_path, original(kl=3.2))
    (tmp_path / "hparams.yaml").write_text("free_bits: 0.05\nlatent_dim: 64\n")
    run = read_run(tmp_path)
    assert run.floor == pytest.approx(3.2)
    assert said(run, COLLAPSE).state == "unknown"


def test_without_a_logged_beta_the_kl_stays_untold(tmp_path: Path) -> None:
    bare = [(step, {tag: v for tag, v in s.items() if "beta" not in tag}) for step, s in original()]
    write_events(tmp_path, bare)
    run = read_run(tmp_path)
    assert summarise(run).kl is None
    assert any("beta was not logged" in note for note in run.notes)


def ours(folder: Path, steps: int = 200) -> Path:
    folder.mkdir(parents=True)
    log = MetricsLog(folder / "metrics.jsonl")
    log.write({"step": 0, "epoch": 0, "setvae/log_format": 1})
    for step in range(10, steps + 1, 10):
        scalars = {"train_loss_step": 1000 / step, "train_kl_step": 4.0}
        log.write({"step": step, "epoch": 1 + step // 100, "seconds": step / 4, **scalars})
    log.close()
    return folder


def test_our_own_log_is_raw_and_knows_epochs_and_seconds(tmp_path: Path) -> None:
    run = read_run(ours(tmp_path / "seqsetvae" / "version_3"))
    assert (run.name, run.legacy, run.notes) == ("seqsetvae/version_3", False, ())
    kl = run.series["train_kl_step"]
    assert kl.values.tolist() == [4.0] * 20
    assert (kl.seconds[-1], kl.epochs[-1], run.steps, run.epochs) == (50.0, 3.0, 200, 3)


def test_a_line_that_is_being_written_is_no_damage_and_a_changed_one_is_told(
    tmp_path: Path,
) -> None:
    path = ours(tmp_path / "run") / "metrics.jsonl"
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    assert read_run(path.parent).notes == ()
    path.write_bytes(data.replace(b'"step":150', b'"step":151'))
    run = read_run(path.parent)
    assert (run.steps, len(run.notes)) == (140, 1)
    assert "cannot be read" in run.notes[0]


def test_a_log_damaged_from_its_start_is_refused(tmp_path: Path) -> None:
    path = ours(tmp_path / "run") / "metrics.jsonl"
    path.write_bytes(b"x" + path.read_bytes())
    with pytest.raises(InputError, match=r"damaged from the start, .* are lost; put it back"):
        read_run(path.parent)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="holds no values yet; train first"):
        read_run(path.parent)


def test_where_the_log_is_damaged_event_files_take_its_place(tmp_path: Path) -> None:
    folder = ours(tmp_path / "run")
    path = folder / "metrics.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"step":50', b'"step":51'))
    points = [(0, {"setvae/log_format": 1.0}), *((s, {"train_kl_step": 4.0}) for s in (50, 200))]
    write_events(folder, points)
    run = read_run(folder)
    assert (run.steps, run.legacy) == (200, False)


def test_runs_are_found_in_the_order_of_their_versions_and_nothing_inside_them(
    tmp_path: Path,
) -> None:
    for number in (10, 2, 0):
        ours(tmp_path / "name" / f"version_{number}")
    ours(tmp_path / "name" / "version_2" / "abandoned" / "0")
    found = [path.name for path in find_runs(tmp_path)]
    assert found == ["version_0", "version_2", "version_10"]


def test_a_run_is_never_named_by_its_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_name(tmp_path) == "run"
    assert run_name(tmp_path / "version_0") == "version_0"
    assert run_name(tmp_path / "logs" / "version_0") == "logs/version_0"


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda folder: None, r"holds no log.*; name a run's folder"),
        (lambda folder: (folder / "notes.txt").write_text("x"), "holds no log"),
    ],
)
def test_a_folder_without_a_log_is_refused(
    tmp_path: Path, make: Callable[[Path], object], line: str
) -> None:
    make(tmp_path)
    with pytest.raises(InputError, match=line):
        find_runs(tmp_path)


def test_a_log_without_a_known_curve_names_its_tags(tmp_path: Path) -> None:
    write_events(tmp_path, [(1, {"hp_metric": -1.0, "speed": 3.0, "Loss/train": 2.0})])
    with pytest.raises(InputError, match=r"holds no curve .* its tags: Loss/train, speed;"):
        read_run(tmp_path)


def test_of_two_values_for_a_step_the_last_one_counts() -> None:
    steps, values = np.array([3, 1, 3, 2]), np.array([1.0, 2.0, 5.0, 4.0])
    found = ordered(steps, values, values, values)
    assert (found.steps.tolist(), found.values.tolist()) == ([1, 2, 3], [2.0, 4.0, 5.0])


def test_the_table_is_long_and_leaves_unknown_epochs_empty(tmp_path: Path) -> None:
    runs = [curves(**HEALTHY), read_run(ours(tmp_path / "b"))]
    write_table(tmp_path / "curves.parquet", runs)
    table = pq.read_table(tmp_path / "curves.parquet", page_checksum_verification=True)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == sum(len(one) for run in runs for one in run.series.values())
    rows = table.to_pylist()
    assert {row["run"] for row in rows} == {"run", "b"}
    assert {row["epoch"] for row in rows if row["run"] == "run"} == {None}
    assert (tmp_path / "curves.parquet").stat().st_mode & 0o777 == 0o600


def test_the_analysis_keeps_the_lines_of_the_original() -> None:
    text = as_text([judge(curves(**HEALTHY))])
    assert "Final KL divergence: 6 nats a set (step 2 000)" in text
    assert "Average of the last 100 steps: 6 nats a set" in text
    assert "Trend: level +0.0 %" in text
    assert "Best validation AUC: 0.8800 (step 2 000), very good" in text
    assert "Final validation AUC: 0.8800" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
def test_equal_curves_give_equal_pictures_that_name_nobody() -> None:
    once, again = draw([curves(**HEALTHY)]), draw([curves(**HEALTHY)])
    assert [one.name for one in once] == [
        "loss_curves",
        "performance_metrics",
        "training_dynamics",
    ]
    assert once == again
    for one in once:
        assert b"Software" not in one.wide
        assert b"Creation" not in one.narrow


def test_a_name_is_no_formula_and_a_long_one_is_cut() -> None:
    named = [replace(curves(val_auc=HEALTHY["val_auc"]), name=n) for n in ("$x^{$", "y" * 250)]
    assert len(draw(named)) == 3


@pytest.mark.slow
def test_a_contrastive_run_has_its_loss_and_recall_and_no_empty_panel() -> None:
    run = curves(
        train_loss_step=FALLING,
        train_coles_step=FALLING,
        val_coles=FALLING[9::10],
        val_recall_1=HEALTHY["val_auc"],
        val_recall_5=HEALTHY["val_auc"] / 2,
        train_grad_norm_step=FALLING,
        lr=FALLING,
    )
    names = [group["name"] for group in content([run])["groups"]]
    assert names == [
        "Loss", "Contrastive", "Recall at 1", "Recall at 5", "Gradient norm", "Learning rate",
    ]  # fmt: skip
    assert "Best validation recall at 1: 0.8800" in as_text([judge(run)])
    heights = {int.from_bytes(picture.narrow[20:24]) for picture in draw([run])}
    plain = [int.from_bytes(picture.narrow[20:24]) for picture in draw([curves(**HEALTHY)])]
    assert max(heights) < min(plain)  # two panels below one another, and never three


def test_a_short_run_without_dynamics_has_the_other_figures() -> None:
    run = curves(train_forecast_epoch=FALLING, val_forecast=FALLING[9::10])
    assert [one.name for one in draw([run])] == ["loss_curves", "performance_metrics"]


def test_lines_of_compared_runs_stay_apart_in_grey() -> None:
    looks = {(pen.mark, str(pen.dash)) for pen in PENS}
    assert len({pen.colour for pen in PENS}) == len(looks) == len(PENS)


def test_a_thinned_curve_keeps_its_extremes() -> None:
    x = np.arange(100_000)
    y = np.zeros(100_000)
    y[54_321] = 7.0
    few, values = thinned(x, y)
    assert len(few) <= 1500
    assert values.max() == 7.0
