"""How the processes of one run meet, and what the first one tells the others.

rank 0     serves a key-value store -> tells which run it is -> waits for all -> process group
the others                             listen                -> come           -> process group

On one machine the store and the process group listen on the loopback interface only.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import torch
from lightning_fabric.plugins import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed
from torch.distributed import (  # type: ignore[attr-defined]  # it exports them without saying so
    PrefixStore,
    Store,
    TCPStore,
    rendezvous,
)

from setvae_cli.errors import RunError
from setvae_cli.training.part import FOLLOWS, Part

# Between two exchanges one rank may write a large checkpoint to a slow disk while others wait.
PATIENCE = timedelta(minutes=10)
LOOK_SECONDS = 0.02
LOOPBACK = "127.0.0.1"


class PartnerLost(RunError):
    """Another process of the run died, or cannot be reached any more."""


class Team:
    """The processes of one run, seen from one of them.

    Args:
        part: Which one this is.

    Attributes:
        part: The same.
        environment: Tells Lightning ranks and addresses.
    """

    def __init__(self, part: Part) -> None:
        self.part = part
        self.environment = _environment(part)
        self._store: Store | None = None

    def meet(self) -> None:
        """Open the store in which processes find one another, or connect to it.

        Raises:
            PartnerLost: Nobody serves it.
        """
        if self._store is not None or self.part.alone:
            return
        if self.part.nodes == 1:
            _stay_on_this_machine()
        try:
            self._store = self._open()
        except RuntimeError as error:
            raise PartnerLost("the first process of this run cannot be reached") from error

    def tell(self, word: dict[str, Any] | None) -> None:
        """Tell the others which run they are part of; None: there is nothing to do."""
        if self.part.alone or self.part.follows:
            return
        self.meet()
        assert self._store is not None
        self._store.set("run", json.dumps(word))
        os.environ[FOLLOWS] = str(os.getpid())

    def listen(self) -> dict[str, Any] | None:
        """What the first process tells; waits for it as long as that process lives.

        Raises:
            PartnerLost: It does not live any more.
        """
        self.meet()
        assert self._store is not None
        try:
            while not self._store.check(["run"]):
                time.sleep(LOOK_SECONDS)
            word: dict[str, Any] | None = json.loads(self._store.get("run"))
        except RuntimeError as error:
            raise PartnerLost("the first process of this run died") from error
        return word

    def join(self, device: str, check: Callable[[], None]) -> None:
        """Wait until all are here, and open the process group.

        Args:
            device: `cpu` or `cuda`.
            check: Called while waiting; raises where one can come no more.
        """
        assert self._store is not None
        self._store.add("here", 1)
        while self._store.add("here", 0) < self.part.world:
            check()
            time.sleep(LOOK_SECONDS)
        distributed.init_process_group(
            "gloo" if device == "cpu" else "cpu:gloo,cuda:nccl",
            store=PrefixStore("group", self._store),
            rank=self.part.rank,
            world_size=self.part.world,
            timeout=PATIENCE,
        )

    def _open(self) -> Store:
        part, environment = self.part, self.environment
        if part.launched:
            os.environ["MASTER_ADDR"] = environment.main_address
            os.environ["MASTER_PORT"] = str(environment.main_port)
            here = rendezvous("env://", part.rank, part.world, timeout=PATIENCE)
            return PrefixStore("setvae", next(here)[0])
        if part.follows:
            return _store(environment.main_port, part.world)
        listening = socket.create_server((LOOPBACK, 0))
        port = listening.getsockname()[1]
        os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"] = LOOPBACK, str(port)
        return _store(port, part.world, listening.detach())


def _store(port: int, world: int, listening: int | None = None) -> Store:
    return TCPStore(
        LOOPBACK,
        port,
        world,
        is_master=listening is not None,
        timeout=PATIENCE,
        wait_for_workers=False,
        master_listen_fd=listening,
    )


def _environment(part: Part) -> ClusterEnvironment:
    if part.starter == "torchrun":
        return TorchElasticEnvironment()
    if part.starter == "srun":
        return SLURMEnvironment(auto_requeue=False)
    return LightningEnvironment()


def _stay_on_this_machine() -> None:
    """Let process groups use the loopback interface, which needs no name of the host either."""
    names = {name for _, name in socket.if_nameindex()} & {"lo", "lo0"}
    for variable in ("GLOO_SOCKET_IFNAME", "NCCL_SOCKET_IFNAME"):
        if names:
            os.environ.setdefault(variable, min(names))


def is_loss_of_partner(error: BaseException) -> bool:
    """Whether an exchange failed because another process is gone."""
    words = ("gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")
    exchange = isinstance(error, torch.distributed.DistError)
    return exchange or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )
