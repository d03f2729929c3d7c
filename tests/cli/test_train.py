"""`setvae train` from the outside: a few real steps on the built-in cohort."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SMALL = ["--subjects", "60", "--preset", "tiny", "--max-steps", "2", "--max-epochs", "1"]


@pytest.fixture(scope="module")
def recipes() -> list[Path]:
    found = sorted(Path(__file__, "../../../examples").resolve().glob("*.yaml"))
    return [recipe for recipe in found if not recipe.name.startswith("finetune")]


@pytest.mark.slow
def test_every_recipe_trains(here, recipes: list[Path]) -> None:
    assert len(recipes) == 7
    for recipe in recipes:
        done = here("train", "--config", str(recipe), *SMALL, "--no-compile-model", "--quiet")
        assert done.returncode == 0, (recipe.name, done.stderr)
        assert done.stdout.splitlines()[0].split()[0] == "Result"


@pytest.mark.slow
def test_the_first_run_says_what_it_trains_on_and_where_it_went(here, tmp_path: Path) -> None:
    done = here("train", *SMALL)
    assert done.returncode == 0, done.stderr
    said = done.stderr.splitlines()
    assert said[0] == "No --data: training on the built-in simulated cohort (60 subjects)."
    assert said[1] == "Your own data: setvae precompute --help"
    assert [line.split()[0] for line in said[3:7]] == ["run", "data", "model", "machine"]
    assert said[-1] == "Next:  setvae visualize outputs/seqsetvae/version_0"
    (best,) = [line for line in done.stdout.splitlines() if line.startswith("best ")]
    assert tmp_path.joinpath(best.removeprefix("best ").strip()).is_file()
    assert "\x1b" not in done.stdout + done.stderr


@pytest.mark.slow
def test_a_budget_says_what_it_comes_to_and_that_it_replaces_the_batch_size(here) -> None:
    done = here("train", *SMALL, "--max-elements-per-batch", "2000", "--batch-size", "3")
    assert done.returncode == 0, done.stderr
    (said,) = [line for line in done.stderr.splitlines() if line.startswith("batches ")]
    assert said.startswith("batches  up to 2 000 elements, mean ")
    assert len(said) <= 80
    assert done.stderr.count("--batch-size has no effect: --max-elements-per-batch") == 1


@pytest.mark.slow
def test_json_is_the_result_and_a_hidden_option_warns_once(here) -> None:
    done = here("train", *SMALL, "--json", "--use-dynamic-padding")
    result = json.loads(done.stdout)
    assert {"run", "best", "metrics", "posterior"} <= set(result)
    assert done.stderr.count("--use-dynamic-padding has no effect") == 1


@pytest.mark.slow
def test_the_learning_curve_of_a_run_can_be_drawn(here, tmp_path: Path) -> None:
    here("train", *SMALL, "--quiet")
    script = Path(__file__, "../../../examples/learning_curve.py").resolve()
    run, picture = tmp_path / "outputs" / "seqsetvae" / "version_0", tmp_path / "curve.png"
    subprocess.run([sys.executable, script, run, "--out", picture], check=True)
    assert picture.read_bytes().startswith(b"\x89PNG")
