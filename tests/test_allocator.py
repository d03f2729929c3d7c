"""The allocator keeps what a step frees, where the platform lets us ask for it."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import sys
import numpy as np
from setvae_cli.allocator import keep_memory
if sys.argv[1] == "kept":
    keep_memory(None)
def step():
    np.ones(1 << 24)  # 128 MB, above any threshold that glibc takes
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(3):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(how: str) -> int:
    found = subprocess.run([sys.executable, "-c", PROGRAM, how], check=True, capture_output=True)
    return int(found.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is glibc's")
def test_large_arrays_are_not_faulted_in_again_each_step() -> None:
    assert faults("kept") < 100 < faults("plain")
