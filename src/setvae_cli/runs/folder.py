"""The one authority over a run's paths.

outputs/<name>/version_<n>/
    settings.yaml  manifest.json  metrics.jsonl
    events.out.tfevents.*  posterior_metrics/  report/
    checkpoints/
        last.ckpt  previous.ckpt                          the two newest
        best_epoch=7_step=420_auc=0.8412_bs=4.ckpt        the best two by validation
        final_step=1200_bs=4.ckpt                         where training ended
        interrupted_step=840_bs=4.ckpt                    where a signal stopped it
        error_step=840_bs=4.ckpt                          the last whole step before an exception
        collapsed_step=840_bs=4.ckpt                      where a latent level collapsed
    abandoned/<n>/                                        what a resume from an earlier step left
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from setvae_cli.errors import InputError
from setvae_cli.files import folder_mode, make_folder, sweep_orphans

_VERSION = re.compile(r"version_(\d+)")
_STOPPED = re.compile(r"(?:interrupted|error|collapsed)_step=(\d+)_bs=\d+\.ckpt")
_BEST = re.compile(r"best_epoch=(\d+)_step=(\d+)_(auc|acc|loss)=(-?\d+(?:\.\d+)?)_bs=\d+\.ckpt")


Mark = Literal["interrupted", "error", "collapsed"]


@dataclass(frozen=True)
class BestCheckpoint:
    """A checkpoint that validation chose, as its name tells.

    Attributes:
        path: The file.
        epoch: Epoch, from 1.
        step: Optimizer steps done.
        measure: `auc`, `acc` or `loss`.
        value: The validation's value, to four decimals.
    """

    path: Path
    epoch: int
    step: int
    measure: str
    value: float

    @property
    def rank(self) -> tuple[bool, float, int]:
        """Sorts best first: AUC or accuracy before loss, the value, then the earlier step."""
        by_loss = self.measure == "loss"
        return (by_loss, self.value if by_loss else -self.value, self.step)


@dataclass(frozen=True)
class RunFolder:
    """One run on disk.

    Attributes:
        path: The folder of the run.
        log_dir: Where event files and posterior_metrics go, when not into the run's folder.
    """

    path: Path
    log_dir: Path | None = None

    @classmethod
    def create(cls, output_dir: Path, name: str, log_dir: Path | None = None) -> RunFolder:
        """Make the next free version, which no other process can get too.

        What killed processes left half-written in the earlier ones goes: one that was killed
        before its first checkpoint is never gone on with, so nobody else would remove it.

        Raises:
            InputError: The folder cannot be made there.
        """
        if log_dir is not None:
            make_folder(log_dir)
        parent = make_folder(output_dir / name)
        for earlier in parent.glob("version_*"):
            with suppress(OSError):  # it may be somebody else's
                cls(earlier).sweep()
        run = cls(_next_numbered(parent, "version_"), log_dir)
        make_folder(run.checkpoints)
        make_folder(run.logs)
        return run

    @classmethod
    def of(cls, path: Path) -> RunFolder | None:
        """The run that a path names, itself or by one of its checkpoints; None for neither."""
        for folder in (path, path.parent.parent):
            if (folder / "settings.yaml").is_file() and (folder / "checkpoints").is_dir():
                return cls(folder)
        return None

    @property
    def settings(self) -> Path:
        """Every setting of the run, flat, as `--config` reads it."""
        return self.path / "settings.yaml"

    @property
    def started(self) -> int:
        """When it began, nanoseconds: its settings are written once, its folder changes later."""
        return (self.settings if self.settings.exists() else self.path).stat().st_mtime_ns

    @property
    def manifest(self) -> Path:
        """Versions, git, environment, data digest, seed."""
        return self.path / "manifest.json"

    @property
    def metrics(self) -> Path:
        """The log that watch, curves and report read."""
        return self.path / "metrics.jsonl"

    @property
    def logs(self) -> Path:
        """Folder of event files."""
        return self.log_dir or self.path

    @property
    def posterior_metrics(self) -> Path:
        """Folder of the monitor."""
        return self.logs / "posterior_metrics"

    @property
    def report(self) -> Path:
        """Folder of figures and pages."""
        return self.path / "report"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def last(self) -> Path:
        """The newest checkpoint."""
        return self.checkpoints / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The one before the newest."""
        return self.checkpoints / "previous.ckpt"

    def best_path(
        self, *, epoch: int, step: int, measure: str, value: float, batch_size: int
    ) -> Path:
        """Name of a checkpoint that validation chose; `value` is kept to four decimals."""
        name = f"best_epoch={epoch}_step={step}_{measure}={value:.4f}_bs={batch_size}.ckpt"
        return self.checkpoints / name

    def final_path(self, *, step: int, batch_size: int) -> Path:
        """Name of the checkpoint where training ended."""
        return self.checkpoints / f"final_step={step}_bs={batch_size}.ckpt"

    def marked_path(self, kind: Mark, *, step: int, batch_size: int) -> Path:
        """Name of a checkpoint where a signal, an exception or a collapse met training."""
        return self.checkpoints / f"{kind}_step={step}_bs={batch_size}.ckpt"

    def marked(self, kind: Mark) -> tuple[Path, ...]:
        """Checkpoints of one kind, newest first."""
        steps = {path: _STOPPED.fullmatch(path.name) for path in self.checkpoints.glob(f"{kind}_*")}
        found = [(int(match[1]), path) for path, match in steps.items() if match]
        return tuple(path for _, path in sorted(found, reverse=True))

    def all_checkpoints(self) -> tuple[Path, ...]:
        """Every checkpoint."""
        return tuple(sorted(self.checkpoints.glob("*.ckpt")))

    def sweep(self) -> None:
        """Remove what killed processes left half-written in it."""
        for place in (self.path, self.checkpoints, self.posterior_metrics, self.report):
            sweep_orphans(place)

    def next_abandoned(self) -> Path:
        """A fresh folder for what a resume sets aside."""
        return _next_numbered(make_folder(self.path / "abandoned"), "")

    def best(self) -> tuple[BestCheckpoint, ...]:
        """Checkpoints that validation chose, best first."""
        found = [
            self.as_best(path)
            for path in self.checkpoints.glob("best_*")
            if _BEST.fullmatch(path.name)
        ]
        return tuple(sorted(found, key=lambda checkpoint: checkpoint.rank))

    @staticmethod
    def as_best(path: Path) -> BestCheckpoint:
        """What the name of a `best_path` says.

        Raises:
            ValueError: It is none.
        """
        match = _BEST.fullmatch(path.name)
        if match is None:
            raise ValueError(f"{path.name} is no name of a best checkpoint")
        return BestCheckpoint(path, int(match[1]), int(match[2]), match[3], float(match[4]))

    def best_or_last(self) -> Path:
        """The best checkpoint, or where validation chose none the newest, or where it was stopped.

        Raises:
            InputError: The run has no checkpoint.
        """
        stopped = (*self.marked("interrupted"), *self.marked("error"))
        for path in [*(found.path for found in self.best()), self.last, self.previous, *stopped]:
            if path.is_file():
                return path
        raise InputError(
            "holds no checkpoint", where=str(self.path), mend="train again, or name another run"
        )


def latest(output_dir: Path, name: str = "*") -> RunFolder | None:
    """The run below `output_dir`, of this name, that began last; None where there is none."""
    return next(newest_first(output_dir, name), None)


def newest_first(output_dir: Path, name: str = "*") -> Iterator[RunFolder]:
    """The runs below `output_dir`, of this name; those that began last come first."""
    runs = [
        path
        for path in output_dir.glob(f"{name}/version_*")
        if _VERSION.fullmatch(path.name) and path.is_dir()
    ]
    runs.sort(key=lambda path: (RunFolder(path).started, int(path.name.removeprefix("version_"))))
    return map(RunFolder, reversed(runs))


def _next_numbered(parent: Path, prefix: str) -> Path:
    """Make the next free numbered folder, which no other process can get too."""
    taken = [re.fullmatch(rf"{prefix}(\d+)", path.name) for path in parent.iterdir()]
    number = max((int(match[1]) + 1 for match in taken if match), default=0)
    while True:
        path = parent / f"{prefix}{number}"
        try:
            path.mkdir(mode=folder_mode())
        except FileExistsError:
            number += 1
        except OSError as error:
            reason = f"a run cannot be made there ({(error.strerror or 'refused').lower()})"
            mend = "choose another --output-dir"
            raise InputError(reason, where=str(parent), mend=mend) from error
        else:
            return path
