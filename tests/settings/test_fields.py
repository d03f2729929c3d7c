"""Settings models hold all that an option needs."""

import subprocess
import sys

import pytest

from setvae_cli.settings.base import Settings
from setvae_cli.settings.command import COMMANDS, TrainSettings
from setvae_cli.settings.fields import flat_fields


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_says_what_it_is(command) -> None:
    for field in command.fields().values():
        assert field.info.description, field.name
        assert field.word
        assert field.info.description.endswith("."), field.name


def test_two_sections_may_not_share_a_name() -> None:
    class One(Settings):
        seed: int = 0

    class Two(Settings):
        one: One = One()
        seed: int = 0

    with pytest.raises(TypeError, match="two settings of Two are called seed"):
        flat_fields(Two)


def test_refused_values_are_not_repeated_by_pydantic() -> None:
    with pytest.raises(ValueError, match="batch_size") as caught:
        TrainSettings.from_flat({"batch_size": "patient 7"})
    assert "patient 7" not in str(caught.value)


def test_the_original_has_the_numbers_of_its_scripts() -> None:
    from setvae_cli.settings.merge import merge

    settings = merge(TrainSettings, options={"preset": "original"}, environment={}).settings
    model, objective, optimizer = settings.model, settings.objective, settings.optimizer
    assert (model.dim, model.latent_dim, model.levels, model.heads) == (256, 256, 2, 2)
    assert (model.inducing_points, model.ff_dim, model.layers) == (16, 256, 2)
    assert (objective.max_beta, objective.beta_warmup, objective.free_bits) == (0.1, 5000, 0.1)
    assert (objective.pred_weight, objective.label_smoothing) == (1.0, 0.1)
    assert (optimizer.lr, optimizer.gradient_clip_val) == (1e-4, 0.5)
    assert (optimizer.set_encoder_lr_ratio, optimizer.weight_decay) == (0.1, 0.01)


def test_settings_import_no_torch() -> None:
    code = (
        "import sys, setvae_cli.settings.merge, setvae_cli.settings.config_file;"
        "sys.exit(bool({'torch', 'numpy', 'pyarrow', 'typer', 'rich'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
