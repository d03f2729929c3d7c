"""Data whose ids, values and minutes are found again wherever they leak, and the search for them.

ids       987654321 ..., as number and as text, in file names too; a text id; a group id
value     1234.56789, once as the largest and once as the only value of its code
minute    98765.4321, the last one of a subject; that of the percentile that scales time
words     a text that one subject alone has
machine   the home folder, the names of the user and of the machine
"""

from __future__ import annotations

import io
import os
import platform
import re
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

SUBJECTS, TRAINING = 66, 41  # of 41 sorted minutes one is exactly the 95th percentile
FIRST_ID, VALUE, MINUTE = 987654321, 1234.56789, 98765.4321
GROUP, USER, WORDS = "household-5551", "canary-user", "lives by the canary cage"
SPLITS = ["train"] * TRAINING + ["validation"] * 13 + ["test"] * 12
TEXT = re.compile(
    rf"98765432\d|98765433\d|9876543[4-9]\d|{GROUP}|{USER}|{WORDS}|1234\.56[78]|98765\.4[23]".encode()
)
NUMBERS = [VALUE, float(np.float32(VALUE)), MINUTE, float(np.float32(MINUTE))]
IDS = range(FIRST_ID, FIRST_ID + SUBJECTS)
DOUBLES = {struct.pack(f, x) for f in ("<d", ">d") for x in NUMBERS} | {
    struct.pack("<q", x) for x in IDS
}
SINGLES = {struct.pack("<f", x) for x in NUMBERS} | {struct.pack("<i", x) for x in IDS}


def events(*, text_ids: bool = False) -> dict[str, list[Any]]:
    """Columns of a long table, in which every canary stands."""
    generator = np.random.default_rng(0)
    rows: list[tuple[Any, ...]] = []
    for number in range(SUBJECTS):
        name = f"{GROUP}-{number}" if text_ids else FIRST_ID + number
        # The highest but two of the training subjects' last minutes is the percentile.
        last = 90_000.0 + number if number < 38 else MINUTE + (number - 38) * 100
        minutes = [0.0, 60.5, 600.25, last]
        own = [(minutes[i % 4], f"lab{i % 3}", generator.normal(100, 10)) for i in range(12)]
        own.append((0.0, "height", VALUE if number == 0 else 150.0 + number % 9))
        if number == 1:
            own.append((60.5, "rare", VALUE))
        static = (number % 3 == 0, {2: WORDS, 65: f"{WORDS}!"}.get(number, "none"))
        rows += [(name, f"{GROUP}-{number}", SPLITS[number], *event, *static) for event in own]
    names = ("subject_id", "group_id", "split", "minute", "variable", "value", "death", "note")
    return {key: list(column) for key, column in zip(names, zip(*rows, strict=True), strict=True)}


def write_table(path: Path, *, text_ids: bool = False) -> None:
    """A long table as Parquet, with the label as a column of 0 and 1."""
    columns = events(text_ids=text_ids)
    columns["death"] = [int(x) for x in columns["death"]]
    pq.write_table(pa.table(columns), path)


def write_patients(folder: Path) -> None:
    """The layout of SeqSetVAE, in which names of files are ids."""
    whole = pa.table(events())
    names = {"train": "train", "validation": "valid", "test": "test"}
    for number, split in enumerate(SPLITS):
        path = folder / f"patient_ehr/{names[split]}/{FIRST_ID + number}.0.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        own = whole.filter(pc.equal(whole["subject_id"], FIRST_ID + number))
        pq.write_table(own.select(["variable", "value", "minute"]), path)
    labels = {"ts_id": list(IDS), "death": [number % 3 == 0 for number in range(SUBJECTS)]}
    labels["death"] = [int(x) for x in labels["death"]]
    pa.csv.write_csv(pa.table(labels), folder / "oc.csv")


def machine() -> list[bytes]:
    """Names of this machine and of its user, where they are long enough to be told from words."""
    names = {platform.node(), os.environ.get("HOSTNAME", ""), os.environ.get("HOME", "")}
    return [name.encode() for name in names if len(name) > 5]


def hits(content: bytes) -> list[str]:
    """Canaries in some bytes, as text and in every binary form that a number is written in."""
    found = [match.decode() for match in TEXT.findall(content)]
    found += [name.decode() for name in machine() if name in content]
    return found + [f"bytes {form.hex()}" for form in DOUBLES | SINGLES if form in content]


def pieces(path: Path) -> Iterator[tuple[str, bytes]]:
    """A file's name, and its bytes, unpacked where it is an archive."""
    yield f"{path.name}, its name", path.name.encode()
    content = path.read_bytes()
    if not zipfile.is_zipfile(path):
        yield path.name, content
        return
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for entry in archive.infolist():
            yield f"{path.name}:{entry.filename}", archive.read(entry)


def leaks(folder: Path, inputs: set[Path]) -> list[str]:
    """Every canary in what stands below a folder but was not there before, data products aside."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path in inputs or not path.is_file() or is_product(path.relative_to(folder)):
            continue
        for name, content in pieces(path):
            tensor = bool(re.search(r":.*/data/\d+$", name))
            bad = tensor_hits(content) if tensor else hits(content)
            found += [f"{path.relative_to(folder)} ({name}): {one}" for one in bad]
    return found


def is_product(path: Path) -> bool:
    """Whether a file may hold ids and values: of a store, named or in the cache, or embeddings."""
    in_a_store = "store" in path.parts[:-1] or ".cache" in path.parts[:-2]
    return in_a_store or path.name == "embeddings.parquet"


def tensor_hits(content: bytes) -> list[str]:
    """Canaries among the numbers of a tensor, whose bytes would match others by chance."""
    found = []
    for width, forms in ((4, SINGLES), (8, DOUBLES)):
        whole = content[: len(content) // width * width]
        words = np.frombuffer(whole, f"V{width}")
        known = np.frombuffer(b"".join(sorted(forms)), f"V{width}")
        views = words.view(f"<u{width}"), known.view(f"<u{width}")
        found += [f"number {x:#x}" for x in np.intersect1d(*views).tolist()]
    return found
