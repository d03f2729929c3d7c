"""latents.parquet: a line a set, in the order of rows and places.

row int64 | set int32 | hours float | elements int32 | reconstruction float
label int64 | risk float | severity float           of the set's subject, null where unknown
kl_<l> float                                        raw KL of level l, nats
z_<l>, variance_<l> fixed_size_list<float>          posterior of level l
h fixed_size_list<float>                            state of the history
z_x, z_y, h_x, h_y float                            place in the joint map, null outside it
subject_id string                                   only where ids were asked for
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from setvae_cli.evaluation.latents import Floats, Latents
from setvae_cli.files import atomic_writer
from setvae_cli.reports.latents.describe import of_sets
from setvae_cli.reports.latents.projection import Map


def write_table(path: Path, latents: Latents, joint: Map, ids: Mapping[int, str] | None) -> None:
    """Write all sets, atomically, with page checksums.

    Raises:
        RunError: The disk is full, or refuses the write.
    """
    table = as_table(latents, joint, ids)
    with atomic_writer(path) as file:
        pq.write_table(table, file, write_page_checksum=True, compression="zstd")


def as_table(latents: Latents, joint: Map, ids: Mapping[int, str] | None) -> pa.Table:
    """The table of all sets."""
    sets, subjects = latents.sets, latents.subjects
    columns: dict[str, Any] = {
        "row": sets.row,
        "set": sets.place,
        "hours": _known(sets.hours),
        "elements": sets.size,
        "reconstruction": _known(sets.recon),
    }
    label = of_sets(latents, subjects.label)
    columns["label"] = pa.array(label, mask=label == -1)
    columns["risk"] = _known(of_sets(latents, subjects.risk))
    columns["severity"] = _known(of_sets(latents, subjects.severity))
    for number, level in enumerate(sets.levels, 1):
        columns[f"kl_{number}"] = level.kl.sum(1)
        columns[f"z_{number}"] = _vectors(level.mean)
        columns[f"variance_{number}"] = _vectors(level.variance)
    columns["h"] = _vectors(sets.history)
    columns |= _places(joint, len(sets.row))
    if ids is not None:
        columns["subject_id"] = pa.array([ids.get(int(row)) for row in sets.row], pa.string())
    return pa.table(columns)


def _known(values: NDArray[Any]) -> pa.Array:
    return pa.array(values, mask=np.isnan(values))


def _vectors(values: Floats) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _places(joint: Map, sets: int) -> dict[str, pa.Array]:
    found = {}
    for letter, kind in (("z", ~joint.history), ("h", joint.history)):
        for axis, name in enumerate("xy"):
            values = np.full(sets, np.nan, np.float32)
            values[joint.of[kind]] = joint.xy[kind, axis]
            found[f"{letter}_{name}"] = _known(values)
    return found
