"""Where a setting may be given, which place wins, and how a wrong one reads."""

import contextlib
import tempfile
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from setvae_cli.errors import InputError, SettingsError, SetvaeError
from setvae_cli.settings.command import COMMANDS, PrecomputeSettings, TrainSettings
from setvae_cli.settings.merge import Merged, merge
from setvae_cli.settings.presets import PRESETS


def merged(
    options: dict[str, object] | None = None,
    environment: dict[str, str] | None = None,
    config: Path | None = None,
) -> Merged[TrainSettings]:
    return merge(TrainSettings, options=options or {}, environment=environment or {}, config=config)


@pytest.fixture
def config(tmp_path: Path):
    def write(content: str | bytes) -> Path:
        path = tmp_path / "run.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def test_option_wins_over_environment_over_file_over_preset_over_default(config) -> None:
    path = config("preset: original\nlr: 0.1\nheads: 4\nmax_beta: 0.3\n")
    environment = {"SETVAE_LR": "0.2", "SETVAE_HEADS": "8"}
    settings = merged({"lr": "0.3"}, environment, path).settings
    assert settings.optimizer.lr == 0.3
    assert settings.model.heads == 8
    assert settings.objective.max_beta == 0.3
    assert settings.model.dim == PRESETS["original"]["dim"]
    assert settings.loader.batch_size == 4


def test_every_preset_is_valid_and_names_only_known_settings() -> None:
    for preset, values in PRESETS.items():
        assert set(values) <= set(TrainSettings.fields())
        flat = merged({"preset": preset}).settings.to_flat()
        assert flat == {**TrainSettings().to_flat(), **values, "preset": preset}


@pytest.mark.parametrize("command", COMMANDS)
def test_settings_survive_the_flat_form(command) -> None:
    assert command.from_flat(command().to_flat()) == command()


def test_printed_settings_are_a_configuration_that_gives_the_same_settings(config) -> None:
    first = merged(
        {"preset": "original", "categories": ["a,b", "#c"], "name": "a: b # c", "data": "null"},
        {"SETVAE_LR": "1e-7"},
    )
    assert "lr: 1.0e-07  # SETVAE_LR\n" in first.as_yaml()
    assert "# preset original\n" in first.as_yaml()
    assert merged(config=config(first.as_yaml())).settings == first.settings


@given(st.text(min_size=1, max_size=30))
def test_any_text_survives_printing(text: str) -> None:
    settings = TrainSettings(data=text)
    printed = Merged(settings, {"data": "--data"}).as_yaml()
    assert yaml.safe_load(printed)["data"] == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": "nan"}, r"^--lr: must be a finite number, got nan$"),
        ({"lr": "0"}, r"^--lr: must be above 0, got 0$"),
        ({"lr": "-1e-3"}, r"^--lr: must be above 0, got -1e-3$"),
        ({"lr": "fast"}, r"^--lr: must be a number, got fast$"),
        ({"batch_size": "0"}, r"^--batch-size: must be at least 1, got 0$"),
        ({"batch_size": "2.5"}, r"^--batch-size: must be a whole number, got 2.5$"),
        ({"latent_dim": "0"}, r"^--latent-dim: must be at least 1, got 0$"),
        ({"heads": "5"}, r"^--heads: heads 5 does not divide dim 48$"),
        ({"heads": "5", "dim": "64"}, r"^--heads, --dim: heads 5 does not divide dim 64$"),
        ({"precision": "16-true"}, r"^--precision: must be one of auto, 32, .*, got 16-true$"),
        ({"device": "tpu"}, r"^--device: must be one of auto, cpu, cuda, got tpu$"),
        ({"num_workers": "-1"}, r"^--num-workers: must be at least 0, got -1$"),
        ({"split_fractions": "0.5,0.5"}, r"^--split-fractions: takes 3 values, got 0.5,0.5$"),
        ({"split_fractions": "0.5,0.2,0.2"}, r"^--split-fractions: .* sum to 1$"),
        ({"preset": "huge"}, r"^--preset: must be one of tiny, base, original, got huge$"),
        ({"devices": "0"}, r"^--devices: must be at least 1, or auto$"),
        ({"devices": "two"}, r"^--devices: must be a whole number, got two$"),
        ({"num_nodes": "0"}, r"^--num-nodes: must be at least 1, got 0$"),
        ({"strategy": "fsdp"}, r"^--strategy: fsdp would shard the weights, .*; use ddp$"),
        ({"strategy": "dp"}, r"^--strategy: must be one of auto, ddp, fsdp, got dp$"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(options, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        merged(options)


def test_none_lifts_a_limit() -> None:
    assert merged({"max_sequence_length": "none"}).settings.loader.max_sequence_length is None


def test_variables_take_lists_with_commas() -> None:
    settings = merged(environment={"SETVAE_CATEGORIES": "GCS, Rhythm"}).settings
    assert settings.store.categories == ("GCS", "Rhythm")


def test_an_unknown_variable_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SettingsError, match=r"^SETVAE_BATCHSIZE: .*did you mean SETVAE_BATCH_SIZE"):
        merged(environment={"SETVAE_BATCHSIZE": "8"})


def test_a_malformed_variable_is_named() -> None:
    with pytest.raises(SettingsError, match=r"^SETVAE_SEED: must be a whole number, got one$"):
        merged(environment={"SETVAE_SEED": "one"})


def test_a_variable_of_another_command_is_left_alone() -> None:
    environment = {"SETVAE_BATCH_SIZE": "8", "SETVAE_SPLIT_SEED": "3"}
    settings = merge(PrecomputeSettings, options={}, environment=environment).settings
    assert settings.store.split_seed == 3


def test_a_file_may_write_numbers_where_words_are_due(config) -> None:
    settings = merged(config=config("precision: 32\nname: 7\nlr: 1e-3\n")).settings
    assert (settings.run.precision, settings.run.name, settings.optimizer.lr) == ("32", "7", 1e-3)


def test_an_empty_file_changes_nothing(config) -> None:
    assert merged(config=config("# nothing\n")).settings == TrainSettings()


BOMB = "a: &a [x, x]\n" + "\n".join(f"b{n}: &b{n} [*a, *a]" for n in range(20))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("batchsize: 8\n", r"unknown key 'batchsize'; did you mean batch_size\?$"),
        ("out: x\n", r"'out' is a setting of setvae precompute, not of setvae train"),
        ("batch_size: many\n", r"run.yaml: batch_size: must be a whole number, got many$"),
        ("batch_size: yes\n", r"run.yaml: batch_size: must be a whole number, got true$"),
        ("batch_size: [1]\n", r"run.yaml: batch_size: must be a whole number, got 1$"),
        ("batch_size: {a: 1}\n", r"run.yaml: batch_size: must be a whole number"),
        ("lr: .nan\n", r"run.yaml: lr: must be a finite number, got nan$"),
        ("name: 2020-01-01\n", r"run.yaml: name: must be text"),
        ("lr: 1\nlr: 2\n", r"run.yaml: key 'lr' stands there twice; keep one$"),
        ("batch-size: 1\nbatch_size: 2\n", r"'batch_size' stands there twice"),
        (BOMB, r"run.yaml: it uses an anchor and alias; write the value out$"),
        ("lr: !!python/object/apply:os.system ['true']\n", r"holds a tag or a key .*\(line 1"),
        ("lr: [1\n", r"is not valid YAML: .*\(line 2, column 1\)"),
        ("lr: " + "[" * 5000, r"nested too deeply"),
        ("lr: 1\n---\nlr: 2\n", r"is not valid YAML"),
        ("- lr\n", r"is not a list of settings; write one `key: value` a line$"),
        ("1: lr\n", r"is not a list of settings"),
        ("{[1]: 2}\n", r"holds a tag or a key"),
        (b"\xef\xbb\xbflr: 1\n", r"begins with a byte order mark; save it as UTF-8 without one$"),
        ("lr: 1\n".encode("utf-16"), r"begins with a byte order mark"),
        (b"name: \xff\n", r"is not UTF-8 \(byte 6\); save it as UTF-8$"),
        (b"name: \x00\n", r"is not valid YAML"),
        ("#" * 1_000_001, r"is larger than 1 MB"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(config, content: str | bytes, message: str) -> None:
    with pytest.raises(SettingsError, match=message) as caught:
        merged(config=config(content))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.yaml: "):
        merged(config=tmp_path / "none.yaml")


@given(st.binary(max_size=200))
def test_a_file_of_any_bytes_gives_settings_or_one_of_our_errors(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.yaml")
        path.write_bytes(content)
        with contextlib.suppress(SetvaeError):
            merged(config=path)
