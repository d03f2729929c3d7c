"""Files of a look at latents: all of them, private, of the truth, and without ids."""

from __future__ import annotations

import base64
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from setvae_cli.errors import InputError
from setvae_cli.evaluation.latents import Latents, VariableErrors
from setvae_cli.monitor.measures import Measures
from setvae_cli.reports.latents.binned import binned
from setvae_cli.reports.latents.colours import divergence, hours, scale, severity
from setvae_cli.reports.latents.describe import unjudged, verdicts
from setvae_cli.reports.latents.draw_correlation import correlation, limit_of, order
from setvae_cli.reports.latents.draw_errors import hour_edges, of_kind, size_edges, worst
from setvae_cli.reports.latents.points import points
from setvae_cli.reports.latents.projection import make_maps
from setvae_cli.reports.latents.sample import choose
from setvae_cli.reports.latents.table import as_table
from setvae_cli.reports.latents.write import write
from tests.reports.latents.made import made

NAMES = [
    "posterior_collapse_analysis.png",
    "latent_space_umap.png",
    "reconstruction_errors.png",
    "latent_correlation.png",
    "time_series.png",
    "latents.parquet",
    "report.html",
]


def written(folder: Path, latents: Latents, ids: dict[int, str] | None = None) -> list[Path]:
    said: list[str] = []
    options = {"method": "pca", "seed": 0, "progress": said.append}
    files = write(folder, latents, show_ids=ids, **options)
    assert said
    return list(files)


def timeless(latents: Latents) -> Latents:
    hours = np.full_like(latents.sets.hours, np.nan)
    return replace(latents, sets=replace(latents.sets, hours=hours))


def without_errors(latents: Latents) -> Latents:
    none = np.zeros(0)
    errors = VariableErrors([], none.astype(np.int64), none, none, "this decoder has no values")
    return replace(latents, errors=errors, series=())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Of latents as they are made without a word."""
    return written(tmp_path_factory.mktemp("shared") / "report", made())


def test_all_files_are_written_for_nobody_else_and_the_page_last(files: list[Path]) -> None:
    assert [file.name for file in files] == NAMES
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    assert sorted(each.name for each in files[0].parent.iterdir()) == sorted(NAMES)


@pytest.mark.slow
def test_equal_latents_give_equal_bytes(files: list[Path], tmp_path: Path) -> None:
    for one, other in zip(files, written(tmp_path, made()), strict=True):
        assert one.read_bytes() == other.read_bytes(), one.name


@pytest.mark.slow
@pytest.mark.parametrize(
    "latents",
    [
        made(subjects=1, per=1),
        made(subjects=1, per=3, latent=1, dim=1),
        timeless(made(labels=False)),
        made(alive=0.0),
        made(levels=3, subjects=20),
        without_errors(made()),
    ],
    ids=["one set", "one number", "no labels, no time", "collapsed", "three levels", "no values"],
)
def test_every_situation_draws(tmp_path: Path, latents: Latents) -> None:
    assert len(written(tmp_path, latents)) == len(NAMES)


def test_the_table_holds_every_set_and_what_is_unknown_is_null() -> None:
    latents = timeless(made(levels=2, labels=False))
    (joint, *_) = make_maps(latents, choose(latents.sets, 0, 100), "pca", 0, lambda words: None)
    table = as_table(latents, joint, None)
    assert table["hours"].null_count == len(table)
    assert table["h_x"].null_count == table["z_y"].null_count == len(table) - 100
    assert table["row"].to_pylist() == latents.sets.row.tolist()
    assert table["label"].null_count == table["severity"].null_count == len(table)
    z = np.array(table["z_2"].to_pylist(), np.float32)
    assert np.array_equal(z, latents.sets.levels[1].mean)
    assert "subject_id" not in table.column_names


@pytest.mark.slow
def test_ids_are_shown_only_where_they_were_asked_for(files: list[Path], tmp_path: Path) -> None:
    latents = made()
    ids = {int(row): f"canary-{row}" for row in latents.subjects.row}
    shown = written(tmp_path, latents, ids)
    assert not any(b"canary" in file.read_bytes() for file in files)
    assert "subject_id" not in pq.read_table(files[-2]).column_names
    assert b"canary" not in shown[-1].read_bytes()
    table = pq.read_table(shown[-2])
    assert table["subject_id"][0].as_py() == f"canary-{latents.sets.row[0]}"


@pytest.mark.slow
def test_the_verdict_stands_first_and_names_end_no_element(tmp_path: Path) -> None:
    latents = made(alive=0.0)
    evil = replace(latents.subjects, severity_name="</script><script>alert(1)</script>")
    latents = replace(latents, subjects=evil, task="<b>died</b>", run="<i>run</i>")
    page = written(tmp_path, latents)[-1].read_text()
    assert page.index('state found">collapsed<') < page.index("<canvas")
    assert page.count("<script") == 2
    assert "<b>died" not in page
    assert "<i>run" not in page


def test_what_no_elbo_trained_is_not_judged() -> None:
    judged = made(alive=0.0)
    latents = replace(judged, keeps_elbo=False)
    assert [verdict.state for verdict in verdicts(judged)] == ["collapsed"]
    assert verdicts(latents) == ()
    (level,) = latents.measures.levels
    assert unjudged(latents, level).startswith("trained without elbo")
    assert "sets are too few" in unjudged(judged, level)


def test_the_page_links_to_nothing(files: list[Path]) -> None:
    page = files[-1].read_text()
    assert not re.search(r"(?:https?:)?//[a-z]|<link|@import|<iframe", page.split("<canvas")[0])
    assert "default-src 'none'" in page


def test_no_sets_is_one_line(tmp_path: Path) -> None:
    latents = made()
    none = np.zeros(0, np.int64)
    empty = replace(latents.sets, row=none)
    with pytest.raises(InputError, match="test: no sets to draw"):
        written(tmp_path, replace(latents, sets=empty, measures=Measures((), None, {})))


def test_an_interval_knows_that_sets_of_one_subject_are_alike() -> None:
    draw = np.random.default_rng(0)
    subject = np.repeat(np.arange(100), 30)
    own = np.repeat(draw.standard_normal(100), 30)
    x, edges = np.zeros(3000), np.array([0.0, 1.0])
    alike, apart = (
        binned(x, values, subject, edges) for values in (own, draw.standard_normal(3000))
    )
    assert alike.high[0] - alike.low[0] == pytest.approx(2 * 1.96 / 10, rel=0.2)
    assert apart.high[0] - apart.low[0] == pytest.approx(2 * 1.96 / np.sqrt(3000), rel=0.2)


def test_bins_of_few_subjects_are_left_out() -> None:
    subject = np.array([0] * 50 + list(range(1, 11)))
    x = np.array([0.5] * 50 + [1.5] * 10)
    found = binned(x, x, subject, np.array([0.0, 1.0, 2.0]))
    assert found.sets.tolist() == [10]
    assert found.mean.tolist() == [1.5]


def test_edges_hold_every_size_and_the_last_hour() -> None:
    assert size_edges(1).tolist() == [1, 2]
    assert size_edges(7).tolist() == [1, 2, 3, 4, 6, 8]
    edges = hour_edges(np.array([0.0, 48.0, 48.0, np.nan]))
    assert edges[-1] > 48


def test_the_worst_variables_come_first_and_unknown_ones_last() -> None:
    assert worst(np.array([0.2, np.nan, 0.9])).tolist() == [2, 0, 1]


def test_errors_of_numbers_and_of_classes_are_not_mixed() -> None:
    values = np.array([0.2, 0.5, 0.9])
    kinds = ["numeric", "category", "binary"]
    errors = VariableErrors(["a", "b", "c"], np.ones(3, np.int64), values, values, "", kinds)
    assert of_kind(errors, numeric=True).code == ["a"]
    classes = of_kind(errors, numeric=False)
    assert (classes.code, classes.error.tolist()) == (["b", "c"], [0.5, 0.9])


def test_each_colour_of_a_long_tail_is_of_as_many_sets() -> None:
    value = np.append(np.exp(np.linspace(0, 8, 800)), np.nan).astype(np.float32)
    found = scale("risk", value)
    assert found is not None
    counts = np.bincount(found.bins[:-1], minlength=8)
    assert counts.min() > 0.1 * 800
    assert (found.bins[-1], len(found.colours)) == (-1, 8)


def test_scales_of_few_subjects_are_drawn_only_where_values_were_asked_for() -> None:
    few = made(subjects=9)
    assert hours(few) is not None
    hidden = replace(few, shows_values=False)
    assert [hours(hidden), severity(hidden), divergence(hidden, 0)] == [None] * 3
    assert hours(replace(made(subjects=10), shows_values=False)) is not None


def test_a_scale_of_one_value_has_one_colour() -> None:
    found = scale("risk", np.full(5, 3.0))
    assert found is not None
    assert (found.edges, found.bins.tolist(), len(found.colours)) == ((3.0, 3.0), [0] * 5, 1)


def test_the_page_holds_whole_hours_and_no_figure_of_a_single_set() -> None:
    latents = made(subjects=20)
    chosen = choose(latents.sets, 0)
    maps = make_maps(latents, chosen, "pca", 0, lambda words: None)
    held = points(latents, maps, chosen)
    hours = np.frombuffer(base64.b64decode(held["hours"]), "<f4")
    assert np.array_equal(hours, np.floor(latents.sets.hours[chosen]))
    assert set(held["scales"][0]) == {"name", "edges", "colours", "bin"}
    assert "risk" not in held


def test_a_scale_of_correlations_is_no_larger_than_need_be() -> None:
    limits = [limit_of(np.array([[np.nan, value]])) for value in (0.05, -0.17, 0.4, 0.99)]
    assert limits == [0.1, 0.2, 0.5, 1.0]


def test_dimensions_that_are_alike_stand_beside_one_another() -> None:
    draw = np.random.default_rng(0)
    first, second = draw.standard_normal((2, 500))
    columns = np.stack([first, second, first, second, first], 1)
    columns = columns + 0.1 * draw.standard_normal(columns.shape)
    placed = order(correlation(columns, columns)) % 2
    assert (np.diff(placed) != 0).sum() == 1
