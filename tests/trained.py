"""Models that fit a store and the runs they would have come from, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from setvae_cli.data.portion import Portion
from setvae_cli.runs.checkpoint import HEADER, STATE, Header, save
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.manifest import describe_run, write_manifest
from setvae_cli.runs.model import LoadedModel, build_untrained
from setvae_cli.runs.settings_file import write_settings
from setvae_cli.settings.command import TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.header import build_header
from setvae_cli.training.tasks import Tasks
from tests.models import ARCHITECTURES

STEP = 40


def model_for(
    store: Store, architecture: str = "base", *, tasks: bool = True, **options: Any
) -> LoadedModel:
    """A random model of a store's codes and labels, parts that begin at zero made non-zero."""
    settings = TrainSettings.from_flat({**ARCHITECTURES[architecture], **options})
    predicted = Tasks(store.tasks, store.classes) if tasks else Tasks((), ())
    model = build_untrained(
        settings,
        store.vocabulary,
        classes=predicted.classes,
        set_size_p99=store.shape.set_size_p99,
        time_scale=store.shape.time_scale,
    )
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.2)
    portion = Portion({}, store.vocabulary, store.shape)
    header = build_header(settings, store, portion, predicted, planned_steps=100)
    header = Header.model_validate(header.model_dump() | {"next_epoch": 1, "next_batch": 0})
    return LoadedModel(model.eval(), settings, store.vocabulary, header)


def write_trained(folder: Path, loaded: LoadedModel, data: str | None) -> RunFolder:
    """A run with one checkpoint, trained on what `data` names.

    Args:
        folder: The folder of all runs.
        loaded: The model.
        data: As it stood behind --data.
    """
    run = RunFolder.create(folder, "seqsetvae")
    flat = loaded.settings.to_flat()
    write_settings(run.settings, {**flat, "data": data, "output_dir": str(folder)})
    about = {"data_digest": loaded.header.data_digest, "seed": 0}
    machine = {"device": "no GPU", "precision": "32-true", "threads": 1}
    write_manifest(run.manifest, describe_run(**about, **machine))
    weights = loaded.model.state_dict()
    payload = {
        HEADER: loaded.header.model_dump(),
        STATE: {"best": []},
        "state_dict": {f"model.{name}": tensor for name, tensor in weights.items()},
        "optimizer_states": [],
        "loops": {},
        "epoch": 1,
        "global_step": STEP,
    }
    best = run.best_path(epoch=1, step=STEP, measure="auc", value=0.8, batch_size=4)
    save(best, payload)
    return run
