"""The PhysioNet/CinC Challenge 2012 layout: one text file an ICU stay, and a file of outcomes.

    set-a.tar.gz  or  a folder      <RecordID>.txt      Time,Parameter,Value    HH:MM, name, number
    Outcomes-a.txt  or  outcomes.csv                    RecordID,...,In-hospital_death

Silva et al. 2012, "Predicting in-hospital mortality of ICU patients", Computing in Cardiology 39.
Negative values mean missing; Age, Gender, Height and ICUType describe the stay, so they become
attributes, and events of minute 0 as well. File names are record ids and are never repeated.
"""

from __future__ import annotations

import gzip
import logging
import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

import numpy as np
import pyarrow as pa

from setvae_cli.errors import InputError
from setvae_cli.files import check_regular
from setvae_cli.sources.labels import read_labels
from setvae_cli.sources.options import SourceOptions
from setvae_cli.sources.records import Kind, Labels, Records, code_column
from setvae_cli.sources.stays import MalformedStay, StayRows, parse_stays

FILES_PER_PART = 250
LARGEST_FILE = 16 << 20  # bytes; a real stay has under 100 kB
STATIC = ("Age", "Gender", "Height", "ICUType")
KINDS: dict[str, Kind] = {"ICUType": "category", "Gender": "binary", "MechVent": "binary"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StaysPart:
    """Some stays, as the bytes of an archive's members or as files to open.

    Attributes:
        where: The archive or folder, as the person wrote it.
        first: Position of the first file, from 0, in the source's order.
        stems: Record ids.
        contents: Bytes of each stay, or the path of its file.
        skip_bad: Leave out and count files that cannot be used.
    """

    where: str
    first: int
    stems: tuple[str, ...]
    contents: tuple[bytes | Path, ...]
    skip_bad: bool

    def read(self) -> Records:
        """Parse the stays.

        Raises:
            InputError: A file is not a stay, and bad files are not to be skipped.
        """
        usable: list[bytes] = []
        stems: list[str] = []
        bad = 0
        try:
            rows = parse_stays([_bytes(content) for content in self.contents])
            stems = list(self.stems)
        except (MalformedStay, OSError):
            for index, content in enumerate(self.contents):
                text = self._check(index, content)
                if text is None:
                    bad += 1
                else:
                    usable.append(text)
                    stems.append(self.stems[index])
            rows = parse_stays(usable)
        return _records(stems, rows, bad)

    def _check(self, index: int, content: bytes | Path) -> bytes | None:
        try:
            text = _bytes(content)
            parse_stays([text])
        except (MalformedStay, OSError) as error:
            if self.skip_bad:
                return None
            reason = "it cannot be read" if isinstance(error, OSError) else str(error)
            raise InputError(
                f"file {self.first + index + 1} of the stays cannot be used: {reason}",
                where=self.where,
                mend="repair it, or leave such files out with --skip-bad-files",
            ) from error
        return text


class PhysioNet2012Source:
    """Stays of the 2012 challenge in a folder or a tar archive, streamed in order."""

    name = "physionet2012"

    def __init__(self, data: Path, settings: SourceOptions) -> None:
        self._data = data
        self._skip_bad = settings.skip_bad_files
        self._labels = settings.labels

    def parts(self, scratch: Path | None = None) -> Iterator[StaysPart]:
        """Groups of 250 stays, in the order of the archive or of the sorted file names.

        Raises:
            InputError: The archive is damaged, or holds no stay, or one stay twice.
        """
        stems: list[str] = []
        contents: list[bytes | Path] = []
        seen: set[str] = set()
        first = 0
        for stem, content in self._stays():
            if stem in seen:
                raise InputError(
                    "two files hold the same record", where=str(self._data), mend="keep one of them"
                )
            seen.add(stem)
            stems.append(stem)
            contents.append(content)
            if len(stems) == FILES_PER_PART:
                yield self._part(first, stems, contents)
                first += len(stems)
                stems, contents = [], []
        if stems:
            yield self._part(first, stems, contents)
        if not seen:
            raise InputError(
                "no <RecordID>.txt was found", where=str(self._data), mend="name another --data"
            )

    def _part(self, first: int, stems: list[str], contents: list[bytes | Path]) -> StaysPart:
        return StaysPart(str(self._data), first, tuple(stems), tuple(contents), self._skip_bad)

    def _stays(self) -> Iterator[tuple[str, bytes | Path]]:
        if self._data.is_dir():
            return ((path.stem, path) for path in stay_files(self._data))
        return _members(check_regular(self._data, "archive of stays"))

    def labels(self) -> Labels | None:
        """In-hospital death from the outcomes given, or from the only fitting file beside."""
        path = self._labels or self._outcomes_beside()
        return None if path is None else read_labels(path)

    def _outcomes_beside(self) -> Path | None:
        found = outcomes_beside(self._data)
        if len(found) == 1:
            _log.warning("labels are read from %s beside the data", found[0].name)
            return found[0]
        if found:
            _log.warning("%d files of outcomes lie beside the data and none is used", len(found))
        return None

    def kinds(self) -> Mapping[str, Kind]:
        """Codes whose numbers are not amounts."""
        return KINDS

    def statistics(self) -> None:
        """None: statistics are fitted on training rows."""

    def embeddings(self) -> None:
        """None: codes are learned."""

    def files(self) -> tuple[str, ...]:
        """The archive or the stays, and the outcomes."""
        outcomes = [self._labels] if self._labels else outcomes_beside(self._data)
        data = stay_files(self._data) if self._data.is_dir() else [self._data]
        return tuple(str(path) for path in [*data, *(outcomes if len(outcomes) == 1 else [])])

    def total(self) -> tuple[int, str] | None:
        """Stays of a folder; of an archive, which is read once, as many as have outcomes."""
        if self._data.is_dir():
            return len(stay_files(self._data)), "stays"
        outcomes = self.labels()
        return None if outcomes is None else (outcomes.table.num_rows, "stays")


def stay_files(folder: Path) -> list[Path]:
    """Stays of a folder, or else of the folders in it, sorted by name."""
    for pattern in ("*.txt", "*/*.txt"):
        found = sorted(path for path in folder.glob(pattern) if _is_stay(path.name))
        if found:
            return found
    return []


def outcomes_beside(data: Path) -> list[Path]:
    """Files of outcomes that fit the data's name: Outcomes-a.txt belongs to set-a alone."""
    letter = re.match(r"set-(\w)(?!\w)", data.name)
    wanted = rf"outcomes-{letter[1]}" if letter else "outcomes"
    pattern = re.compile(rf"{wanted}\.(txt|csv)", re.IGNORECASE)
    places = [data, data.parent] if data.is_dir() else [data.parent]
    beside = (path for place in places if place.is_dir() for path in sorted(place.iterdir()))
    return [path for path in beside if pattern.fullmatch(path.name)]


def _is_stay(name: str) -> bool:
    return name.endswith(".txt") and not name.lower().startswith(("outcomes", "readme", "."))


def _bytes(content: bytes | Path) -> bytes:
    if isinstance(content, bytes):
        return content
    if content.stat().st_size > LARGEST_FILE or not content.is_file():
        raise MalformedStay("it is not a regular file of a stay's size")
    return content.read_bytes()


def _members(archive: Path) -> Iterator[tuple[str, bytes]]:
    try:
        with _unpacked(archive) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if member.isfile() and _is_stay(path.name):
                    yield path.stem, _member_bytes(tar.extractfile(member), member.size, archive)
            while stream.read(1 << 20):  # to the checksum, and to see that nothing is cut off
                pass
    except (tarfile.TarError, EOFError, zlib.error, OSError, ValueError) as error:
        raise InputError(
            "the archive is damaged, cut short or not a tar archive",
            where=str(archive),
            mend="fetch it again",
        ) from error


@contextmanager
def _unpacked(archive: Path) -> Iterator[IO[bytes]]:
    """The bytes of a tar archive; tarfile itself takes a cut for the end, gzip does not.

    Raises:
        EOFError: A plain archive does not end in its two empty blocks.
    """
    with open(archive, "rb") as raw:
        if raw.read(2) == b"\x1f\x8b":
            raw.seek(0)
            with gzip.GzipFile(fileobj=raw) as stream:
                yield cast("IO[bytes]", stream)
            return
        raw.seek(max(0, archive.stat().st_size - 1024))
        if raw.read() != bytes(1024):
            raise EOFError
        raw.seek(0)
        yield raw


def _member_bytes(stream: IO[bytes] | None, size: int, archive: Path) -> bytes:
    if size > LARGEST_FILE:
        raise InputError(
            "a member is far larger than a stay", where=str(archive), mend="fetch it again"
        )
    data = stream.read() if stream else b""
    if len(data) != size:
        raise EOFError
    return data


def _records(stems: Sequence[str], rows: StayRows, bad: int) -> Records:
    subject = np.repeat(np.arange(len(stems), dtype=np.int32), rows.per_stay)
    names = np.array([*rows.names, ""], dtype=object)[:-1]
    unnamed = np.isin(rows.codes, np.flatnonzero(names == ""))
    record = np.isin(rows.codes, np.flatnonzero(names == "RecordID"))
    with np.errstate(invalid="ignore"):
        negative = ~record & ~unnamed & (rows.values < 0)
    empty = ~record & ~unnamed & rows.empty
    drops = {
        "empty parameter": int(unnamed.sum()),
        "negative value (means missing)": int(negative.sum()),
        "empty value": int(empty.sum()),
        "file that could not be read": bad,
    }
    keep = ~(record | unnamed | negative | empty)
    code, value, subject = rows.codes[keep], rows.values[keep], subject[keep]
    static = np.isin(code, [index for index, name in enumerate(rows.names) if name in STATIC])
    columns: dict[str, pa.Array] = {"subject_id": pa.array(stems, pa.string())}
    for name in STATIC:
        columns[f"attribute.{name}"] = _attribute(
            name, rows.names, code, value, subject, len(stems)
        )
    events = pa.table(
        {
            "subject": pa.array(subject),
            "time": pa.array(np.where(static, 0.0, rows.minutes[keep])),
            "code": code_column(code, rows.names),
            "value": pa.array(value),
        }
    )
    return Records(pa.table(columns), events, {key: n for key, n in drops.items() if n})


def _attribute(
    name: str,
    names: Sequence[str],
    code: np.ndarray,
    value: np.ndarray,
    subject: np.ndarray,
    n_subjects: int,
) -> pa.Array:
    """The last value of a static parameter for each stay, as of its events; null: it has none."""
    result = np.full(n_subjects, np.nan)
    if name in names:
        rows = np.flatnonzero(code == names.index(name))
        result[subject[rows]] = value[rows]
    return pa.array(result, from_pandas=True)
