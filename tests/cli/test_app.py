"""The command line as people meet it: help, wrong options, exit codes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from setvae_cli.cli.app import COMMANDS
from setvae_cli.settings.command import FinetuneSettings, TrainSettings

HEAVY = {"torch", "numpy", "pyarrow", "pytorch_lightning", "rich.console", "yaml", "setvae_cli.nn"}
IMPORTS = (
    "import sys; sys.argv = ['setvae', *{arguments!r}];"
    "from setvae_cli.cli.app import main; code = main();"
    "print(*sorted({heavy!r} & set(sys.modules)), file=sys.stderr); sys.exit(code)"
)


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    code = IMPORTS.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_help_lists_only_commands_that_exist(setvae) -> None:
    done = setvae("--help")
    assert re.findall(r"^  (\w[\w-]*)  ", done.stdout, re.MULTILINE) == [*COMMANDS]
    assert all(about in done.stdout for about in COMMANDS.values())  # whole in 80 columns
    assert setvae().stdout == done.stdout


def test_help_fits_eighty_columns_and_names_every_shown_option(here) -> None:
    text = here("train", "--help", COLUMNS="200").stdout
    assert max(map(len, text.splitlines())) <= 80
    for field in TrainSettings.fields().values():
        assert (field.option in text) is not field.hidden


def test_help_of_fine_tuning_begins_with_what_is_chosen_first(here) -> None:
    text = here("finetune", "--help").stdout
    titles = ["What", "Fine-tuning", "Optimizer", "Objective", "Model", "Comparison", "Folds"]
    places = [text.index(f"\n{title}") for title in titles]
    assert places == sorted(places)
    assert text.index("\n  CKPT ") < text.index("\n  --data")
    for field in FinetuneSettings.fields().values():
        shown = re.search(rf"{field.option}\b(?!-)", text)
        assert field.positional or (shown is not None) is not field.hidden, field.option


def test_version_is_printed(here) -> None:
    assert re.fullmatch(r"setvae \d+\.\d+\.\d+\n", here("--version").stdout)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["train", "--batchsize", "8"], r"setvae train: error: unknown option --batchsize.*"),
        (["trian"], r"setvae: error: no such command 'trian'; did you mean 'train'\?"),
        (["train", "extra"], r"setvae train: error: got unexpected extra argument \(extra\)"),
        (["train", "--lr"], r"setvae train: error: option '?--lr'? requires an argument"),
        (["train", "--lr", "nan"], r"setvae train: error: --lr: must be a finite number, got nan"),
        (["train", "--num-nodes", "2"], r"setvae train: error: --num-nodes: 2 machines need .*"),
        (["train", "--num-workers", "99999"], r"setvae train: error: --num-workers: 99999 .*"),
        (["train", "--config", "none.yaml"], r"setvae train: error: none.yaml: .*"),
        (
            ["train", "--data", "nowhere"],
            r"setvae train: error: nowhere: no such file or folder; .*",
        ),
        (["precompute", "--out", "x"], r"setvae precompute: error: no DATA given; .*"),
        (["precompute", "data"], r"setvae precompute: error: --out: is missing; .*"),
        (["precompute", "nowhere", "--verify"], r"setvae precompute: error: nowhere: .*"),
    ],
)
def test_a_wrong_request_ends_with_one_line_and_exit_code_2(here, arguments, line: str) -> None:
    done = here(*arguments)
    assert done.returncode == 2
    errors = done.stderr.splitlines()
    assert re.fullmatch(line, errors[-1]), done.stderr
    assert sum("error" in one for one in errors) == 1
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_debug_shows_the_traceback_before_the_line(here) -> None:
    done = here("train", "--lr", "0", "--debug")
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("setvae train: error: --lr: ")


def test_variables_are_read_and_wrong_ones_refused(here) -> None:
    assert "seed: 7  # SETVAE_SEED" in here("train", "--print-config", SETVAE_SEED="7").stdout
    done = here("train", SETVAE_SEDE="7")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "did you mean SETVAE_SEED?" in done.stderr


def test_printed_settings_can_be_given_back(here, tmp_path: Path) -> None:
    first = here("train", "--print-config", "--preset", "tiny", "--no-compile-model")
    tmp_path.joinpath("run.yaml").write_text(first.stdout)
    second = here("train", "--print-config", "--config", "run.yaml")
    assert "compile_model: false  # --compile-model" in first.stdout
    assert _values(first.stdout) == _values(second.stdout)


def _values(text: str) -> list[str]:
    return [line.split("  # ")[0] for line in text.splitlines()]


@pytest.mark.parametrize("name", ["--batch_size", "--batch_size=3"])
def test_old_spellings_are_accepted_with_one_warning(here, name: str) -> None:
    values = [] if "=" in name else ["3"]
    done = here("train", name, *values, "--print-config")
    assert "batch_size: 3  # --batch-size" in done.stdout
    expected = "setvae train: warning: --batch_size is an old spelling; write --batch-size\n"
    assert done.stderr == expected


@pytest.mark.parametrize(
    ("given", "today", "expected"),
    [
        ("--freeze_epochs=2", "--freeze until:N", "freeze_epochs: 2"),
        ("--freeze_encoder", "--freeze all", "freeze_encoder: true"),
        ("--head_hidden_dims=64,32", "--head-hidden-dims", "head_hidden_dims: [64, 32]"),
    ],
)
def test_the_originals_words_of_fine_tuning_are_accepted(here, given, today, expected) -> None:
    done = here("finetune", given, "--print-config")
    old = given.partition("=")[0]
    assert done.stderr == f"setvae finetune: warning: {old} is an old spelling; write {today}\n"
    assert f"\n{expected} " in done.stdout


def test_the_originals_names_of_its_files_are_accepted(here) -> None:
    names = ["--data-dir", "a", "--params-map-path", "b", "--label-path", "c"]
    printed = here("train", *names, "--print-config").stdout
    for line in ("data: a ", "params_map_path: b ", "labels: c "):
        assert f"\n{line}" in printed


@pytest.mark.parametrize("recipe", sorted(Path("examples").resolve().glob("*.yaml")))
def test_every_recipe_is_a_valid_configuration(here, recipe: Path) -> None:
    command = "finetune" if recipe.name.startswith("finetune") else "train"
    assert here(command, "--config", str(recipe), "--print-config").returncode == 0


def test_json_goes_to_stdout_alone(here) -> None:
    arguments = ["--source", "simulated", "--subjects", "40", "--out", "store", "--workers", "1"]
    done = here("precompute", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["path"] == "store"
