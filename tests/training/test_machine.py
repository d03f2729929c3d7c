"""Where a run computes."""

from __future__ import annotations

import os

import pytest

from setvae_cli.errors import SettingsError
from setvae_cli.settings.run import RunSettings
from setvae_cli.training.machine import resolve


def test_threads_that_torch_could_not_start_are_refused() -> None:
    most = 4 * len(os.sched_getaffinity(0))
    assert resolve(RunSettings(device="cpu", threads=most), 256).threads == most
    with pytest.raises(SettingsError, match=r"--threads: .* are more than four a usable core \("):
        resolve(RunSettings(device="cpu", threads=most + 1), 256)
