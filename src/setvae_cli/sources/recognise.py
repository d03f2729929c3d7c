"""Which layout raw input has, by what lies at its path."""

from __future__ import annotations

import os
from pathlib import Path

from setvae_cli.errors import InputError, SettingsError
from setvae_cli.files import check_regular
from setvae_cli.sources.longtable import table_files
from setvae_cli.sources.options import SourceOptions
from setvae_cli.sources.physionet2012 import PhysioNet2012Source, stay_files
from setvae_cli.sources.records import Source
from setvae_cli.sources.seqsetvae import SeqSetVAESource, split_folders
from setvae_cli.sources.simulated import SimulatedSource
from setvae_cli.sources.table import TableSource
from setvae_cli.sources.tabular import PARQUET, TEXT

ARCHIVES = (".tar", ".tar.gz", ".tgz")
LAYOUTS = (
    "a folder or tar.gz of <RecordID>.txt (physionet2012), "
    "a folder with patient_ehr/{train,valid,test} (seqsetvae), "
    "Parquet or CSV of one event a row (table)"
)


def open_source(data: Path | None, settings: SourceOptions) -> Source:
    """The source of some raw input.

    Args:
        data: File or folder; None is the built-in cohort.
        settings: `source` names the layout, or is "auto".

    Raises:
        InputError: The path cannot be read, or its layout is not known.
        SettingsError: --map was given for another layout than a table.
    """
    if data is None or settings.source == "simulated":
        if data is None and settings.source not in ("auto", "simulated"):
            raise InputError(f"--source {settings.source} needs data", mend="name it with --data")
        for option, given in (("--labels", settings.labels), ("--map", settings.map)):
            if data is None and given:
                raise SettingsError("is given without data", where=option, mend="name the data too")
        return SimulatedSource(settings)
    _check_reachable(data)
    beside = {
        "labels": settings.labels,
        "statistics of codes": settings.params_map_path,
        "embeddings of codes": settings.embeddings_path,
    }
    for what, named in beside.items():
        if named is not None:
            check_regular(named, what)
    layout = _layout(data) if settings.source == "auto" else settings.source
    if settings.map and layout != "table":
        raise SettingsError(f"is for tables, and {data.name} has layout {layout}", where="--map")
    if layout == "physionet2012":
        return PhysioNet2012Source(data, settings)
    if layout == "seqsetvae":
        return SeqSetVAESource(data, settings)
    return TableSource(data, settings)


def _layout(data: Path) -> str:
    if data.is_dir():
        if split_folders(data):
            return "seqsetvae"
        if stay_files(data):
            return "physionet2012"
        if table_files(data):
            return "table"
        raise _unknown(data, _contents(data))
    name = data.name.lower()
    if name.endswith(ARCHIVES):
        return "physionet2012"
    if name.endswith((*PARQUET, *TEXT)):
        return "table"
    raise _unknown(data, f"a file of type '{data.suffix}'" if data.suffix else "a file")


def _check_reachable(data: Path) -> None:
    try:
        os.stat(data)
        if data.is_dir():
            os.listdir(data)
    except FileNotFoundError as error:
        raise InputError(
            "no such file or folder", where=str(data), mend="check the path"
        ) from error
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or "no valid path").lower()
        raise InputError(
            f"cannot be reached ({reason})", where=str(data), mend="check the path"
        ) from error


def _contents(folder: Path) -> str:
    """What a folder holds, by type; names may be patient ids."""
    entries = list(folder.iterdir())
    if not entries:
        return "an empty folder"
    folders = sum(entry.is_dir() for entry in entries)
    types = sorted({entry.suffix or "without a suffix" for entry in entries if entry.is_file()})
    files = f"{len(entries) - folders:,} files ({', '.join(types[:4])})" if types else "no files"
    return f"a folder with {files} and {folders:,} folders"


def _unknown(data: Path, found: str) -> InputError:
    return InputError(
        f"found {found}, expected {LAYOUTS}", where=str(data), mend="name another --data"
    )
