"""Which process of a run this is: alone, the first of several, or one that follows the first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from setvae_cli.errors import SettingsError

FOLLOWS = "_SETVAE_FOLLOWS"  # names the process that started this one as a part of its run


@dataclass(frozen=True)
class Part:
    """One process of a run.

    Attributes:
        rank: Its number in the run; 0 speaks and writes, the others only compute.
        world: Processes of the run.
        nodes: Machines of the run.
        starter: Who starts the processes.
    """

    rank: int = 0
    world: int = 1
    nodes: int = 1
    starter: Literal["setvae", "torchrun", "srun"] = "setvae"

    @property
    def alone(self) -> bool:
        """Whether there is no other process."""
        return self.world == 1

    @property
    def follows(self) -> bool:
        """Whether another process speaks and writes."""
        return self.rank > 0

    @property
    def launched(self) -> bool:
        """Whether all processes of the run were started from outside."""
        return self.starter != "setvae"

    @property
    def local_world(self) -> int:
        """Processes of the run on each machine."""
        return self.world // self.nodes


def started_part(environment: Mapping[str, str], parent: int, nodes: int) -> Part:
    """What this process is as its starter says; alone where nobody says anything.

    Args:
        environment: Variables of this process.
        parent: The process that started this one.
        nodes: Machines of the run.
    """
    if environment.get(FOLLOWS) == str(parent):
        return Part(int(environment["LOCAL_RANK"]), int(environment["WORLD_SIZE"]))
    if "TORCHELASTIC_RUN_ID" in environment:
        rank, world = int(environment["RANK"]), int(environment["WORLD_SIZE"])
        return Part(rank, world, nodes, "torchrun") if world > 1 else Part()
    tasks = int(environment.get("SLURM_STEP_NUM_TASKS", 1))
    return Part(int(environment["SLURM_PROCID"]), tasks, nodes, "srun") if tasks > 1 else Part()


def settled_part(started: Part, devices: int, nodes: int) -> Part:
    """What this process is in a run of so many devices on so many machines.

    Args:
        started: As its starter says.
        devices: A machine.
        nodes: Machines.

    Raises:
        SettingsError: The starter started another number, or nobody can start them.
    """
    world = devices * nodes
    if world == 1:
        return Part()
    if not started.launched:
        if nodes > 1:
            what = f"{nodes} machines need torchrun or srun, which start the processes of all"
            raise SettingsError(what, where="--num-nodes", mend="see the README")
        return Part(0, world)
    if started.world != world:
        what = f"{devices} on each of {nodes} machines are {world} processes"
        raise SettingsError(
            f"{what if nodes > 1 else devices}, and {started.starter} started {started.world}",
            where="--devices",
            mend="let both be the same",
        )
    return started
