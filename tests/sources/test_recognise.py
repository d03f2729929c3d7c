"""Which source opens which input, and what is said of an unknown one."""

from __future__ import annotations

from pathlib import Path

import pytest

from setvae_cli.errors import InputError, UsageError
from setvae_cli.settings.prepare import SourceSettings
from setvae_cli.sources.recognise import open_source


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("subject_id,time,code\n1,2,HR\n")
    return folder


def test_no_data_is_the_built_in_cohort() -> None:
    assert open_source(None, SourceSettings()).name == "simulated"


@pytest.mark.parametrize(
    ("names", "data", "layout"),
    [
        (["1.txt", "Outcomes-a.txt"], ".", "physionet2012"),
        (["set-a/1.txt"], ".", "physionet2012"),
        (["set-a.tar.gz"], "set-a.tar.gz", "physionet2012"),
        (["patient_ehr/train/1.parquet"], ".", "seqsetvae"),
        (["patient_ehr/train/1.parquet"], "patient_ehr", "seqsetvae"),
        (["events.csv"], ".", "table"),
        (["events.csv"], "events.csv", "table"),
    ],
)
def test_a_layout_is_recognised(tmp_path: Path, names: list[str], data: str, layout: str) -> None:
    assert open_source(make(tmp_path, *names) / data, SourceSettings()).name == layout


def test_the_named_source_wins(tmp_path: Path) -> None:
    data = make(tmp_path, "1.txt", "patient_ehr/train/1.parquet")
    assert open_source(data, SourceSettings(source="physionet2012")).name == "physionet2012"


def test_an_unknown_folder_is_described_without_its_names(tmp_path: Path) -> None:
    data = make(tmp_path, "987654321.nii", "987654322.nii", "more/x.bin")
    with pytest.raises(InputError, match=r"2 files \(\.nii\) and 1 folders.*patient_ehr") as caught:
        open_source(data, SourceSettings())
    assert "98765432" not in str(caught.value)


@pytest.mark.parametrize("name", ["scan.nii", "notes"])
def test_an_unknown_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=r"expected a folder or tar\.gz"):
        open_source(make(tmp_path, name) / name, SourceSettings())


@pytest.mark.parametrize("option", ["labels", "params_map_path", "embeddings_path"])
def test_a_missing_file_beside_the_data_is_refused_at_once(tmp_path: Path, option: str) -> None:
    data = make(tmp_path, "events.csv") / "events.csv"
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        open_source(data, SourceSettings(**{option: tmp_path / "absent.csv"}))


def test_a_mapping_for_another_layout_than_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--map: is for tables"):
        open_source(make(tmp_path, "1.txt"), SourceSettings(map=("time=minute",)))


def test_a_source_that_needs_data_says_so() -> None:
    with pytest.raises(InputError, match="--source table needs data"):
        open_source(None, SourceSettings(source="table"))
