"""Which checkpoint a person means who names none."""

from pathlib import Path

import pytest

from setvae_cli.cli.named import named_checkpoint
from setvae_cli.cli.output import Output
from setvae_cli.errors import InputError
from setvae_cli.runs.export import OPENING
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.settings_file import write_settings
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.training.compare.folder import PLAN


def run_of(command: type[TrainSettings], outputs: Path) -> RunFolder:
    settings = command()
    run = RunFolder.create(outputs, settings.run.name)
    write_settings(run.settings, settings.to_flat())
    run.last.write_bytes(b"")
    return run


def test_fine_tuning_starts_at_the_latest_run_that_was_not_tuned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained, tuned = (run_of(one, tmp_path) for one in (TrainSettings, FinetuneSettings))
    output = Output("finetune")
    assert named_checkpoint(None, tmp_path, output) == tuned.last
    assert named_checkpoint(None, tmp_path, output, pretrained=True) == trained.last
    assert named_checkpoint(str(tuned.path), tmp_path, output, pretrained=True) == tuned.last
    said = capsys.readouterr().err
    assert said.count("(the latest)") == 1
    assert said.count("(the latest of setvae train)") == 1


def test_where_all_was_fine_tuned_it_is_said_what_is_missing(tmp_path: Path) -> None:
    run_of(FinetuneSettings, tmp_path)
    with pytest.raises(InputError, match="holds no run of setvae train"):
        named_checkpoint(None, tmp_path, Output("finetune"), pretrained=True)


def test_what_is_no_run_is_called_by_what_it_is(tmp_path: Path) -> None:
    output = Output("evaluate")
    compared, exported = tmp_path / "comparison_0", tmp_path / "m.safetensors"
    compared.mkdir()
    (compared / PLAN).write_text("{}")
    exported.write_bytes(bytes(8) + OPENING)
    with pytest.raises(InputError, match="is a comparison; name a run or a checkpoint"):
        named_checkpoint(str(compared), tmp_path, output)
    with pytest.raises(InputError, match="is an exported model, which setvae finetune starts from"):
        named_checkpoint(str(exported), tmp_path, output)
    assert named_checkpoint(str(exported), tmp_path, output, pretrained=True) == exported
