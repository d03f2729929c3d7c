"""A run's settings and manifest come back as they were, or are refused."""

import stat

import pytest

from setvae_cli.errors import InputError
from setvae_cli.runs.manifest import describe_run, read_manifest, write_manifest
from setvae_cli.runs.settings_file import read_settings, write_settings
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge


@pytest.fixture
def settings(tmp_path):
    path = tmp_path / "settings.yaml"
    write_settings(path, TrainSettings.from_flat({"lr": 0.5, "name": "a # b"}).to_flat())
    return path


def test_settings_come_back_and_are_private(settings):
    assert TrainSettings.from_flat(read_settings(settings)).optimizer.lr == 0.5
    assert stat.S_IMODE(settings.stat().st_mode) == 0o600


def test_config_reads_them_also_after_a_person_changed_them(settings):
    settings.write_text(settings.read_text().replace("lr: 0.5", "lr: 0.25  # less"))
    merged = merge(TrainSettings, options={}, environment={}, config=settings)
    assert merged.settings.optimizer.lr == 0.25
    assert merged.settings.run.name == "a # b"


def test_changed_settings_are_refused_and_so_are_settings_cut_at_any_line(settings):
    text = settings.read_text()
    lines = text.splitlines(keepends=True)
    for content in [
        text.replace("0.5", "0.6"),
        *("".join(lines[:n]) for n in range(1, len(lines))),
    ]:
        settings.write_text(content)
        with pytest.raises(InputError, match=r"settings\.yaml: was cut or changed"):
            read_settings(settings)


def test_a_manifest_comes_back_and_one_that_says_something_else_is_refused(tmp_path):
    path = tmp_path / "manifest.json"
    run = describe_run(data_digest="0" * 64, seed=3, device="cpu", precision="32", threads=2)
    write_manifest(path, run)
    assert read_manifest(path).model_dump(exclude={"checksum"}) == run.model_dump(
        exclude={"checksum"}
    )
    path.write_text(path.read_text().replace('"seed": 3', '"seed": 4'))
    with pytest.raises(InputError, match="is damaged, or was changed"):
        read_manifest(path)


def test_a_manifest_without_a_checksum_is_read(tmp_path):
    path = tmp_path / "manifest.json"
    run = describe_run(data_digest="0" * 64, seed=3, device="cpu", precision="32", threads=2)
    path.write_text(run.model_dump_json(indent=2))
    assert read_manifest(path) == run
