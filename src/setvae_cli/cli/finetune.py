"""`setvae finetune`: a trained encoder to a classifier of labels."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from setvae_cli.cli import options
from setvae_cli.cli.comparing import check_together, cross_validate, is_compared
from setvae_cli.cli.named import named_checkpoint
from setvae_cli.cli.output import Output
from setvae_cli.cli.slurm import requeued_when_asked
from setvae_cli.cli.train import train, went_on
from setvae_cli.errors import SettingsError
from setvae_cli.settings.command import FinetuneSettings

if TYPE_CHECKING:
    from setvae_cli.runs.checkpoint import Header


def register(app: typer.Typer) -> None:
    """Add the command."""
    options.register(app, FinetuneSettings, run)


def run(settings: FinetuneSettings, output: Output) -> None:
    """Fine-tune a trained model, so that it predicts the labels of the data.

    CKPT brings codes, architecture and weights; its head is made anew. The run is one like those
    of setvae train, in a folder of its own: it can be resumed, watched, exported and drawn. Behind
    it, a table tells whether fine-tuning was worth it.

    Every option can also stand in a YAML file (--config) or in the environment, as SETVAE_LR for
    --lr. Options of setvae precompute for raw input, and those of setvae train about loading,
    saving, SLURM and the watch over the posterior, are taken too.
    """
    if settings.ckpt and settings.checkpoint:
        raise SettingsError("is given beside CKPT", where="--checkpoint", mend="keep one")
    if settings.tuning.encoder and (settings.ckpt or settings.checkpoint):
        raise SettingsError("is given beside CKPT", where="--encoder", mend="keep one")
    check_together(settings, output)
    if is_compared(settings):
        cross_validate(started(settings, output), output)
        return
    if went_on(settings, output):
        return
    with requeued_when_asked(settings.run.requeue, output):
        train(started(settings, output), output)


def started(settings: FinetuneSettings, output: Output) -> FinetuneSettings:
    """Settings with checkpoint, data and architecture as they are, whoever named them.

    Raises:
        InputError: There is no checkpoint, it cannot be opened, or its data are not known.
        SettingsError: An option is given that fine-tuning takes from the checkpoint.
    """
    from setvae_cli.cli.precompute import store_to_train_on
    from setvae_cli.training.starting import check_given, open_origin, with_architecture

    check_given(settings)
    if settings.tuning.encoder is not None:
        if settings.data is None:
            what = "needs data: no checkpoint says on which it was trained"
            raise SettingsError(what, where="--encoder", mend="name them with --data")
        return settings
    given = settings.ckpt or settings.checkpoint
    path = named_checkpoint(given, settings.run.output_dir, output, pretrained=True)
    origin = open_origin(path)
    settings = settings.model_copy(update={"ckpt": str(path), "checkpoint": None})
    architecture = with_architecture(settings, origin.header, path)
    dealt = in_its_fold(architecture, origin.header, output)
    settings = with_data(dealt, origin.header, path)
    if dealt is architecture or not settings.tuning.label or settings.fold.fold_label:
        return settings
    first = store_to_train_on(settings, output).tasks[:1]  # by which a checkpoint's fold was dealt
    fold = settings.fold.model_copy(update={"fold_label": first[0] if first else None})
    return settings.model_copy(update={"fold": fold})


def in_its_fold(settings: FinetuneSettings, header: Header, output: Output) -> FinetuneSettings:
    """Settings of the fold that a checkpoint was trained in, as others would test what it saw."""
    from setvae_cli.settings.folds import FoldSettings
    from setvae_cli.store.cache import is_store
    from setvae_cli.store.format import read_manifest

    known = {name: header.settings.get(name) for name in FoldSettings.model_fields}
    if settings.fold.folds is not None or not known["folds"]:
        return settings
    place = Path(settings.data or "")
    if settings.data and is_store(place) and read_manifest(place).digest != header.data_digest:
        return settings
    output.say(
        f"The checkpoint is of fold {known['fold']} of {known['folds']}, and so is this run."
    )
    known["label_fraction"] = settings.fold.label_fraction
    tuned = header.settings.get("label")
    known["fold_label"] = known["fold_label"] or (tuned[0] if tuned else None)
    return settings.model_copy(update={"fold": FoldSettings.model_validate(known)})


def with_data(settings: FinetuneSettings, header: Header, path: Path) -> FinetuneSettings:
    """Settings with the data that the checkpoint was trained on, where none are named.

    Raises:
        InputError: The data are not known, or not there any more.
    """
    from setvae_cli.cli.trained_on import data_of
    from setvae_cli.runs.model import settings_of

    usual = type(settings)().to_flat()  # a file of --print-config gives every option
    given = {name for name, value in settings.given().items() if value != usual[name]}
    known = data_of(settings_of(header, path), path, settings.data)
    kept = {name: value for name, value in known.items() if name not in given}
    return type(settings).from_flat({**settings.to_flat(), **kept})
