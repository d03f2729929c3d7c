"""Variables of a launcher of several processes, still set where one process trains alone."""

from __future__ import annotations

from collections.abc import MutableMapping

LAUNCHER = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE",
            "MASTER_ADDR", "MASTER_PORT")  # fmt: skip


def forget_launcher(environment: MutableMapping[str, str]) -> str | None:
    """Remove what torchrun and its like leave in a shell: one device needs none of it.

    Libraries read these names when they are imported, and would take this process for a part of a
    group that nobody else is in.

    Args:
        environment: Variables of this process; those of a launcher are taken out.

    Returns:
        The warning, or None where nothing was set.
    """
    found = [name for name in LAUNCHER if name in environment]
    for name in found:
        del environment[name]
    if not found:
        return None
    verb = "is" if len(found) == 1 else "are"
    return f"{', '.join(found)} {verb} set and ignored: no launcher started this process"
