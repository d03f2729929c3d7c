"""Fixtures that more than one room's tests need."""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:
    # A worker of the whole suite needs this in any case. Imported first by a module that jaxtyping
    # checks, all of it would be compiled anew: bytecode is sought under another name there.
    importlib.import_module("pytorch_lightning")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real data beside the checkout; tests that ask for it skip where it is absent."""
    folder = Path(__file__).parents[1].parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real data beside the checkout (shared/data)")
    return folder
