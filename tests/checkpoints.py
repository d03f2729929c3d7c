"""Checkpoints and run folders as training leaves them, made without training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import FORMAT_VERSION, HEADER, STATE, save
from setvae_cli.runs.event_file import EventFile
from setvae_cli.runs.folder import RunFolder
from setvae_cli.runs.manifest import describe_run, write_manifest
from setvae_cli.runs.metrics_log import MetricsLog
from setvae_cli.runs.settings_file import write_settings
from setvae_cli.settings.command import TrainSettings
from setvae_cli.training.header import settings_without_paths
from tests.models import ARCHITECTURES, CLASSES, make_model, make_vocabulary

DIGEST = "ab" * 32


def make_settings(architecture: str = "base", **options: Any) -> TrainSettings:
    return TrainSettings.from_flat({**ARCHITECTURES[architecture], **options})


def make_payload(
    model: SeqSetVAE, settings: TrainSettings, *, step: int = 40, **header: Any
) -> dict[str, Any]:
    """What the trainer would save; the averaged weights are those of the model."""
    weights = model.state_dict()
    about = {
        "format_version": FORMAT_VERSION,
        "setvae_version": "0.1.0",
        "settings": settings_without_paths(settings),
        "vocabulary": make_vocabulary().to_plain(),
        "data_digest": DIGEST,
        "tasks": ["death", "ward"],
        "classes": list(CLASSES),
        "set_size_p99": 5.0,
        "time_scale": 100.0,
        "sets_per_subject": 4.0,
        "planned_steps": 100,
        "measured": {"val_auc": 0.8},
        "next_epoch": 1,
        "next_batch": 7,
    }
    return {
        HEADER: {**about, **header},
        STATE: {"best": []},
        "state_dict": {f"averaged.{name}": tensor for name, tensor in weights.items()}
        | {f"model.{name}": torch.zeros_like(tensor) for name, tensor in weights.items()},
        "optimizer_states": [{"moments": [torch.ones(3)]}],
        "loops": {"fit_loop": {}},
        "epoch": 1,
        "global_step": step,
    }


def write_checkpoint(path: Path, architecture: str = "base", **changes: Any) -> SeqSetVAE:
    """Write a checkpoint; returns the model whose weights were averaged in it."""
    model = make_model(architecture)
    save(path, make_payload(model, make_settings(architecture), **changes))
    return model


def write_run(output_dir: Path, *, log_dir: Path | None = None) -> RunFolder:
    """A run with three checkpoints, of steps 20, 30 and 40."""
    run = RunFolder.create(output_dir, "seqsetvae", log_dir)
    log = str(log_dir) if log_dir else None
    settings = make_settings(output_dir=str(output_dir), log_dir=log)
    write_settings(run.settings, settings.to_flat())
    manifest = describe_run(
        data_digest=DIGEST, seed=0, device="no GPU", precision="32-true", threads=1
    )
    write_manifest(run.manifest, manifest)
    metrics, events = MetricsLog(run.metrics), EventFile(run.logs)
    for step in (20, 30, 40):
        metrics.write({"step": step, "train_loss_step": 1.0})
        events.write(step, {"train_loss_step": 1.0})
    metrics.close()
    events.close()
    best = run.best_path(epoch=1, step=20, measure="auc", value=0.8, batch_size=4)
    for path, step in ((best, 20), (run.previous, 30), (run.last, 40)):
        write_checkpoint(path, step=step)
    return run


def flip(path: Path, place: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[place] ^= 1 << bit
    path.write_bytes(bytes(data))
