"""What a comparison refuses before it begins, and what becomes of an earlier one."""

from __future__ import annotations

import io
import json
import logging
import os
from pathlib import Path

import pyarrow as pa
import pytest
from tests import tiny
from tests.trained import model_for
from tests.training.tuned import checkpoint_of, settings_in

from setvae_cli.cli import comparing
from setvae_cli.cli.comparing import BESIDE, _each_warning_once, check_together
from setvae_cli.cli.finetune import started
from setvae_cli.cli.output import Output
from setvae_cli.cli.resume import latest_begun
from setvae_cli.data.portion import split_rows
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.runs.folder import RunFolder
from setvae_cli.settings.command import FinetuneSettings, ResumeSettings
from setvae_cli.sources.records import Labels
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.folder import PAGE, ComparisonFolder
from setvae_cli.training.compare.run import check_rows


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"repeats": 2}, "--repeats"),
        ({"repeats": 2, "folds": 3, "fold": 1}, "--repeats"),
        ({"repeat": 1, "folds": 3}, "--repeat"),
        ({"folds": 3, "resume_from_checkpoint": "x"}, "--resume-from-checkpoint"),
    ],
)
def test_options_that_contradict_one_another_are_refused(options, option) -> None:
    with pytest.raises(SettingsError) as refused:
        check_together(FinetuneSettings.from_flat(options), Output("finetune"))
    assert refused.value.where == option


def test_options_without_effect_are_named_also_where_a_file_gives_all(capsys) -> None:
    given = {**FinetuneSettings().to_flat(), "compare": False, "ensemble": 3}
    check_together(FinetuneSettings.from_flat(given), Output("finetune"))
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "--ensemble has no effect" in said[0]


def test_a_run_that_has_changed_is_compared_anew_and_the_earlier_one_is_kept(
    tmp_path: Path, capsys
) -> None:
    store = Store.open(tiny.write(tiny.cohort(40), tmp_path / "store").path)
    checkpoint = checkpoint_of(store, tmp_path / "trained", objective="elbo")
    run = RunFolder.create(tmp_path, "tuned")
    folder = ComparisonFolder(run.path / BESIDE)
    folder.path.mkdir()

    def compared(**options) -> Comparison:
        return Comparison(settings_in(tmp_path, checkpoint, **options), store, folder)

    folder.pin(compared().plan())
    comparing._set_aside(compared(num_workers=1), run, Output("resume"))
    assert folder.begun
    assert capsys.readouterr().err == ""
    comparing._set_aside(compared(max_epochs=9), run, Output("resume"))
    assert not folder.begun
    assert "The run has changed (max_epochs)" in capsys.readouterr().err
    kept = json.loads((run.path / "abandoned/0" / BESIDE / "plan.json").read_text())
    assert kept["settings"]["max_epochs"] == 2


@pytest.mark.parametrize("dealt_by", [None, "second"])
def test_another_label_is_tuned_and_compared_in_the_fold_of_the_checkpoint(
    tmp_path: Path, dealt_by: str | None
) -> None:
    labels = pa.table({
        "subject_id": pa.array([f"s{i}" for i in range(60)], pa.string()),
        "first": pa.array([int(i % 3 == 0) for i in range(60)], pa.int32()),
        "second": pa.array([int(i % 7 < 3) for i in range(60)], pa.int32()),
    })  # fmt: skip
    source = tiny.cohort(60, outcomes=Labels(labels, "outcomes.csv"))
    store = Store.open(tiny.write(source, tmp_path / "store").path)
    fold = {"folds": 3, "fold": 1, "fold_label": dealt_by}
    checkpoint = checkpoint_of(store, tmp_path / "trained", tasks=False, objective="elbo", **fold)
    before = split_rows(model_for(store, **fold).settings, store, "test")
    for label in ("first", "second"):
        given = {"ckpt": str(checkpoint), "label": (label,), "output_dir": str(tmp_path)}
        settings = started(FinetuneSettings.from_flat(given), Output("finetune"))
        assert split_rows(settings, store, "test").tolist() == before.tolist()
        check_together(settings, Output("finetune"))
        compared = Comparison(settings, store, ComparisonFolder(tmp_path / "comparison"))
        check_rows(compared)
        assert (compared.label, compared.extent.pretrains) == (label, False)


def test_a_warning_that_every_job_repeats_is_said_once() -> None:
    log, said = logging.getLogger("setvae_cli"), io.StringIO()
    handler = logging.StreamHandler(said)
    log.addHandler(handler)
    try:
        with _each_warning_once():
            log.warning("8 codes with one value in training (HR, pH and others)")
            log.warning("1 code with one value in training (Temp)")
            log.warning("1 400 codes with one value in training (RR)")
            log.warning("another thing")
        log.warning("3 codes with one value in training (RR)")
    finally:
        log.removeHandler(handler)
    assert [line[:2] for line in said.getvalue().splitlines()] == ["8 ", "an", "3 "]


def test_resume_without_a_name_takes_what_began_last_and_says_which(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    settings, output = ResumeSettings.from_flat({"output_dir": "out"}), Output("resume")
    with pytest.raises(InputError, match="holds no run and no interrupted comparison"):
        latest_begun(settings, output)
    run = RunFolder.create(Path("out"), "seqsetvae")
    run.settings.touch()
    os.utime(run.settings, (1, 1))
    assert latest_begun(settings, output) == run.path
    folder = ComparisonFolder.create(Path("out/finetune"), {"settings": {}})
    assert latest_begun(settings, output) == folder.path
    of_a_name = ResumeSettings.from_flat({"output_dir": "out", "name": "seqsetvae"})
    assert latest_begun(of_a_name, output) == run.path
    (folder.path / PAGE).touch()
    assert latest_begun(settings, output) == run.path
    assert capsys.readouterr().err.splitlines() == [
        "No run named: going on with the latest, out/seqsetvae/version_0.",
        "No run named: going on with the latest comparison, out/finetune/comparison_0.",
        *["No run named: going on with the latest, out/seqsetvae/version_0."] * 2,
    ]
