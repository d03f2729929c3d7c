"""What a comparison refuses before it begins, and what becomes of an earlier one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests import tiny
from tests.training.tuned import checkpoint_of, settings_in

from setvae_cli.cli import comparing
from setvae_cli.cli.comparing import BESIDE, check_together
from setvae_cli.cli.output import Output
from setvae_cli.errors import SettingsError
from setvae_cli.runs.folder import RunFolder
from setvae_cli.settings.command import FinetuneSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.compare.comparison import Comparison
from setvae_cli.training.compare.folder import ComparisonFolder


@pytest.mark.parametrize(
    ("options", "option"),
    [
        ({"repeats": 2}, "--repeats"),
        ({"repeats": 2, "folds": 3, "fold": 1}, "--repeats"),
        ({"repeat": 1, "folds": 3}, "--repeat"),
        ({"folds": 3, "resume_from_checkpoint": "x"}, "--resume-from-checkpoint"),
        ({"label": ["a"], "fold_label": "b"}, "--fold-label"),
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
