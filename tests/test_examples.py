"""The Python examples do what they show; recipes are tested with the command line."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from setvae_cli.testing.conformance import check_encoder
from tests import tiny

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture
def own_encoder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_encoder", EXAMPLES / "own_encoder.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_encoder_of_the_example_keeps_the_rules(own_encoder: ModuleType) -> None:
    check_encoder(lambda: own_encoder.GruEncoder(codes=5), codes=5)


@pytest.mark.slow
def test_the_example_checks_and_tunes_its_encoder(tmp_path: Path) -> None:
    tiny.write(tiny.cohort(60), tmp_path / "store")
    command = [sys.executable, str(EXAMPLES / "own_encoder.py"), "store", "--epochs", "1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0].startswith("death auroc ")
    assert tmp_path.joinpath(done.stdout.splitlines()[-1]).is_file()


@pytest.mark.slow
def test_the_rules_run_as_the_example_says_also_in_this_repository() -> None:
    plugin = ["-p", "setvae_cli.testing.plugin", "-p", "no:cacheprovider"]
    about = ["--pyargs", "setvae_cli.testing", "--encoder", "own_encoder:GruEncoder"]
    command = [sys.executable, "-m", "pytest", "-q", *plugin, *about]
    done = subprocess.run(command, cwd=EXAMPLES, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
