"""A run that is made to collapse is called in time, and a healthy one is not called."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from setvae_cli.monitor import rules
from setvae_cli.monitor.check import LevelCheck
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.settings.command import TrainSettings
from setvae_cli.settings.merge import merge
from setvae_cli.store.cache import prepared
from setvae_cli.store.reader import Store
from setvae_cli.training.fit import fit
from setvae_cli.training.module import SetVAEModule
from setvae_cli.training.records import Checked

STEPS, EVERY = 3000, 25
BAD = {"collapsed", "shrinking", "partial"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The built-in cohort."""
    settings = TrainSettings()
    place = tmp_path_factory.mktemp("cohort")
    return prepared(
        None, settings.source, settings.store, place, sink=lambda record: None, workers=None
    )


def trained(store: Store, folder: Path, **given: str) -> list[Checked]:
    """All looks at the posteriors of a run."""
    given = {"preset": "tiny", "patience": "0", "device": "cpu", "output_dir": str(folder), **given}
    settings = merge(TrainSettings, options=given, environment={}, config=None).settings
    looks: list[Checked] = []
    fit(settings, store, lambda record: isinstance(record, Checked) and looks.append(record))
    return looks


def meets_the_rule(module: SetVAEModule) -> bool:
    """Whether the whole validation split says so, with all latents exchanged."""
    model = module.evaluated.eval()
    metrics = Metrics.of(model)
    with torch.no_grad():
        for batch in module.trainer.datamodule.val_dataloader():
            metrics.update(model, batch, model(batch, noise_seed=None))
    module.model.train()
    return rules.collapsed(LevelCheck.of(metrics.result().levels[0])) is not None


@pytest.mark.slow
def test_a_run_made_to_collapse_is_called_within_a_tenth_of_its_steps(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    onsets: list[int] = []
    look = SetVAEModule.look

    def also_offline(module: SetVAEModule, *, validates: bool) -> Checked | None:
        if not onsets and module.global_step % EVERY == 0 and meets_the_rule(module):
            onsets.append(module.global_step)
        return look(module, validates=validates)

    monkeypatch.setattr(SetVAEModule, "look", also_offline)
    looks = trained(
        store,
        tmp_path,
        max_beta="10",
        beta_schedule="constant",
        free_bits="0",
        max_epochs="99",
        max_steps=str(STEPS),
    )
    called = [
        one.step for one in looks if one.split == "val" and one.verdicts[0].state == "collapsed"
    ]
    assert onsets[0] <= called[0] <= onsets[0] + STEPS // 10
    assert called[-1] == STEPS
    actions = [one.action for one in looks if one.action is not None]
    assert [action.words for action in actions] == ["Nothing was changed (--on-collapse warn)."]


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_healthy_run_is_not_called(store: Store, tmp_path: Path, seed: str) -> None:
    looks = trained(store, tmp_path, seed=seed, max_epochs="8")
    assert BAD.isdisjoint(verdict.state for one in looks for verdict in one.verdicts)
    last = [one.verdicts[0].state for one in looks if one.split == "val"][-1]
    assert last == "healthy"
