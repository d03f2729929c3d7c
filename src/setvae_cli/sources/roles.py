"""Which column of a person's table plays which role."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from setvae_cli.errors import InputError, SettingsError
from setvae_cli.sources.tabular import check_no_prediction_time, nearest

USUAL = {
    "subject": ("subject_id", "patient_id", "stay_id", "icustay_id", "hadm_id", "ts_id", "recordid",
                "subject", "id"),
    "time": ("time", "minute", "minutes", "time_minutes", "charttime", "timestamp"),
    "code": ("code", "variable", "parameter", "feature", "itemid", "name"),
    "value": ("value", "numeric_value", "valuenum"),
    "group": ("group_id", "group"),
    "split": ("split",),
    "set": ("set_index", "set"),
}  # fmt: skip
REQUIRED = ("subject", "time", "code")
PATIENTS = ("subject_id", "patient_id", "hadm_id")  # each may hold several of the next
NO_VALUES = "no column holds values; every code is presence only; map it with --map value=COLUMN"


@dataclass(frozen=True)
class Roles:
    """The column of each role, None where the table has none; and what to tell the person."""

    subject: str
    time: str
    code: str
    value: str | None = None
    group: str | None = None
    split: str | None = None
    set: str | None = None
    labels: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def events(self) -> list[str]:
        """The columns that reading events needs."""
        single = (self.subject, self.time, self.code, self.value, self.group, self.split, self.set)
        return list(dict.fromkeys([c for c in single if c] + list(self.attributes.values())))


@dataclass(frozen=True)
class Mapping:
    """What `--map` said: columns of roles, labels and attributes."""

    single: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    attributes: dict[str, str] = field(default_factory=dict)


def parse_mapping(pairs: Sequence[str]) -> Mapping:
    """Read ROLE=COLUMN pairs.

    Raises:
        SettingsError: A pair has no '=', names an unknown role, or one that was named before.
    """
    mapping = Mapping()
    for pair in pairs:
        role, mark, column = (part.strip() for part in pair.partition("="))
        if not (role and mark and column):
            raise SettingsError(
                f"'{pair}' is not ROLE=COLUMN", where="--map", mend="as in --map time=minute"
            )
        kind, _, name = role.partition(":")
        table = {"label": mapping.labels, "attribute": mapping.attributes}.get(kind, mapping.single)
        key = name.strip() if table is not mapping.single else role
        if not key or (table is mapping.single and role not in USUAL):
            raise _unknown_role(role)
        if key in table:
            raise SettingsError(f"role '{role}' is named twice", where="--map", mend="keep one")
        table[key] = column
    return mapping


def resolve(
    columns: Sequence[str], mapping: Mapping, where: str, *, labels_here: bool = True
) -> Roles:
    """Find the column of every role: as mapped, or else by its usual name.

    Args:
        columns: Columns of the table.
        mapping: What `--map` said.
        where: The table, as the person wrote it.
        labels_here: The table itself holds the labels, not a file of its own.

    Raises:
        InputError: A mapped column is missing, a needed role has no column, or there are
            prediction times.
    """
    labels = mapping.labels if labels_here else {}
    named = {**mapping.single, **labels, **mapping.attributes}
    for column in named.values():
        if column not in columns:
            close = nearest(column, columns)
            hint = f", nearest is '{close}'" if close else ""
            raise InputError(
                f"no column '{column}'{hint}", where=where, mend="correct --map ROLE=COLUMN"
            )
    taken = set(named.values())
    single = dict(mapping.single)
    check_no_prediction_time([name for name in columns if name not in taken], where)
    lowered = {name.lower(): name for name in reversed(columns) if name not in taken}
    for role, usual in USUAL.items():
        found = next((lowered[name] for name in usual if name in lowered), None)
        if role not in single and found is not None:
            single[role] = found
    for role in REQUIRED:
        if role not in single:
            raise _missing(role, columns, where)
    left = {name: column for name, column in lowered.items() if column not in single.values()}
    return Roles(
        **single,
        warnings=_warnings(single, left),
        labels=_prefixed("label", columns) | labels if labels_here else {},
        attributes=_prefixed("attribute", columns) | mapping.attributes,
    )


def _warnings(single: dict[str, str], left: dict[str, str]) -> tuple[str, ...]:
    """What the found columns leave out; `left` holds those without a role, by lower-case name."""
    found = [] if "value" in single else [NO_VALUES]
    subject = single["subject"].lower()
    coarser = PATIENTS[: PATIENTS.index(subject)] if subject in PATIENTS else PATIENTS
    patient = next((left[name] for name in coarser if name in left), None)
    if patient is not None and "group" not in single:
        found.append(
            f"column '{patient}' is not used, so that its subjects may fall into several splits; "
            f"keep them together with --map group={patient}"
        )
    return tuple(found)


def _prefixed(role: str, columns: Sequence[str]) -> dict[str, str]:
    """Columns named `label.NAME` or `attribute:NAME`."""
    marks = (f"{role}.", f"{role}:")
    return {c[len(role) + 1 :]: c for c in columns if c.startswith(marks) and c not in marks}


def _missing(role: str, columns: Sequence[str], where: str) -> InputError:
    close = next((found for name in USUAL[role] if (found := nearest(name, columns))), None)
    hint = f", nearest is '{close}'" if close else ""
    return InputError(
        f"no column for the {role} ({', '.join(USUAL[role][:3])}, ...){hint}",
        where=where,
        mend=f"map one with --map {role}=COLUMN",
    )


def _unknown_role(role: str) -> SettingsError:
    close = nearest(role, tuple(USUAL))
    hint = f", nearest is '{close}'" if close else ""
    return SettingsError(
        f"unknown role '{role}'{hint}",
        where="--map",
        mend=f"roles are {', '.join(USUAL)}, label:NAME and attribute:NAME",
    )
