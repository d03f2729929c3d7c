"""Under SLURM a job that was stopped for its time limit is queued again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from setvae_cli.cli.output import Output
from setvae_cli.errors import Terminated

SECONDS = 60


@contextmanager
def requeued_when_asked(wanted: bool, output: Output) -> Iterator[None]:
    """Context in which SIGUSR1, which SLURM sends ahead of the time limit, queues the job again."""
    try:
        yield
    except Terminated as stop:
        if wanted and stop.number == signal.SIGUSR1:
            requeue(output)
        raise


def requeue(output: Output) -> None:
    """Ask SLURM to run this job again, and say what came of it; it never hides why a run ended."""
    job = job_id()
    if job is None:
        output.warn("--requeue: this is no SLURM job, it is not queued again")
        return
    try:
        done = subprocess.run(
            ["scontrol", "requeue", job], capture_output=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        output.warn("--requeue: scontrol cannot be run, the job is not queued again")
        return
    if done.returncode:
        output.warn(f"--requeue: scontrol refused with exit code {done.returncode}")
    else:
        output.say(f"job {job} is queued again")


def job_id() -> str | None:
    """The job as scontrol names it; None outside of SLURM."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    job = f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
    return job if job and re.fullmatch(r"\d+(_\d+)?", job) else None
