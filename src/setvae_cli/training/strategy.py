"""Several processes train one model: Lightning's DDP, with the rules of this project around it.

launch -> the others start, signals are held back -> all join -> fit -> the group ends, none stays

What follows an error, such as its checkpoint, comes when the group has ended: nobody is waited for.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.strategies import DDPStrategy
from pytorch_lightning.strategies.launchers import _SubprocessScriptLauncher
from torch import distributed

from setvae_cli.data.signals import SIGNALS
from setvae_cli.training.machine import Machine
from setvae_cli.training.team import PATIENCE, PartnerLost, Team, is_loss_of_partner
from setvae_cli.training.watch import Watch

LOST_SECONDS = 2.0  # until the system tells of a child whose connection closed


class TeamStrategy(DDPStrategy):
    """DDP among the processes of a team.

    Args:
        team: They.
        machine: Where each computes.
        all_read: Whether every weight has a gradient, whatever a batch holds. Without a label the
            head has none, and in fine-tuning frozen parts have none until they learn.
        statistics: Whether buffers change, as those of a BatchNorm of others; ours are constants.
    """

    def __init__(
        self, team: Team, machine: Machine, *, all_read: bool, statistics: bool = False
    ) -> None:
        super().__init__(
            timeout=PATIENCE,
            broadcast_buffers=statistics,
            find_unused_parameters=not all_read,
        )
        self._team, self._machine = team, machine

    def _configure_launcher(self) -> None:
        assert self.cluster_environment is not None
        self._launcher = _Launcher(self._team, self._machine, self.cluster_environment,
                                   self.num_processes, self.num_nodes)  # fmt: skip


class _Launcher(_SubprocessScriptLauncher):
    """Starts the others by the same command line, and watches them instead of Lightning.

    Lightning kills this process five seconds after a child failed, also while it saves.
    """

    def __init__(self, team: Team, machine: Machine, *of_lightning: Any) -> None:
        super().__init__(*of_lightning)
        self._team, self._machine = team, machine

    def launch(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Start the others, then call a function in this process."""
        # Until a child can handle signals it would die of one with a traceback.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)

        def together(*args: Any, **kwargs: Any) -> Any:
            children, self.procs[:] = list(self.procs), []
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            torch.set_num_threads(self._machine.threads)  # the base class sets its own number
            with _joined(self._team, self._machine, children):
                return function(*args, **kwargs)

        try:
            return super().launch(together, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _joined(
    team: Team, machine: Machine, children: Sequence[subprocess.Popen[bytes]]
) -> Iterator[None]:
    """Context in which the process group is open.

    Raises:
        PartnerLost: Another process is gone.
    """
    ours = team.part.starter == "setvae"
    watch = Watch(children, os.getppid() if ours and team.part.follows else None)
    watch.start()
    try:
        team.join(machine.device, lambda: _check(watch))
        yield
    except BaseException as error:
        if not is_loss_of_partner(error):
            raise
        raise _lost(watch.dead(LOST_SECONDS)) from error
    finally:
        joined = distributed.is_initialized()
        if joined:
            distributed.destroy_process_group()
        watch.stop()
        watch.end(at_once=not joined)


def _check(watch: Watch) -> None:
    dead = watch.dead()
    if dead:
        raise _lost(dead)


def _lost(what: str | None) -> PartnerLost:
    return PartnerLost(
        what or "another process of this run is gone",
        mend="go on with setvae resume, with fewer --devices if memory is short",
    )
