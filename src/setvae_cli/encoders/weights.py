"""Weights that were kept under other names: found under a known prefix, and compared whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

PREFIXES = (
    "",
    "module.",
    "model.",
    "encoder.",
    "seq_encoder.",
    "_seq_encoder.",
    "model.encoder.",
    "model.seq_encoder.",
    "model._seq_encoder.",
)
SHOWN = 3


@dataclass(frozen=True)
class Match:
    """How the weights of a file fit those of a module.

    Attributes:
        weights: Those that fit in name and shape, by the module's names.
        missing: Names of the module that the file does not have.
        mismatched: Names of both whose shapes differ.
        unused: Names of the file, below the prefix, that the module does not have.
        prefix: Under which they were found.
    """

    weights: dict[str, Tensor]
    missing: tuple[str, ...]
    mismatched: tuple[str, ...]
    unused: tuple[str, ...]
    prefix: str

    @property
    def whole(self) -> bool:
        """Whether every weight of the module was found."""
        return not self.missing and not self.mismatched

    def told(self) -> str:
        """The counts, and the first names that do not fit, in one clause."""
        counts = f"{len(self.weights)} weights loaded"
        for word, names in (("missing", self.missing), ("mismatched", self.mismatched)):
            if names:
                more = ", ..." if len(names) > SHOWN else ""
                counts += f", {len(names)} {word} ({', '.join(names[:SHOWN])}{more})"
        return counts


def match(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    prefixes: tuple[str, ...] = PREFIXES,
) -> Match:
    """The best match under any prefix; of equally good ones the first.

    Args:
        own: State of a module.
        given: Weights of a file.
        prefixes: What may stand before the names of the file.
    """
    return max((_under(prefix, own, given) for prefix in prefixes), key=_loaded)


def _loaded(match: Match) -> int:
    return len(match.weights)


def _under(prefix: str, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Match:
    found = {n.removeprefix(prefix): t for n, t in given.items() if n.startswith(prefix)}
    fitting = {n: t for n, t in found.items() if n in own and own[n].shape == t.shape}
    return Match(
        weights=fitting,
        missing=tuple(n for n in own if n not in found),
        mismatched=tuple(n for n in own if n in found and n not in fitting),
        unused=tuple(n for n in found if n not in own),
        prefix=prefix,
    )
