"""The model a run begins with, untrained or on a trained body, and the rows and labels it sees."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from setvae_cli.data.portion import Portion, counted_rows, rows_of
from setvae_cli.encoders.classifier import Model
from setvae_cli.encoders.codes import codes_of
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.opening import load_encoder, open_encoder
from setvae_cli.encoders.weights import Match
from setvae_cli.errors import InputError, SettingsError
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import Header
from setvae_cli.runs.model import build_classifier, build_untrained
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.store.reader import Store
from setvae_cli.training.starting import load_body, open_origin, with_architecture, with_sizes
from setvae_cli.training.tasks import Tasks, tasks_of
from setvae_cli.training.unseen import check_unseen

_OF_THE_VAE = ("max_beta", "recon_weight", "variance_regularizer", "mean_regularizer")


@dataclass(frozen=True)
class Begun:
    """A model, and what it sees.

    Attributes:
        settings: Of the command, with the architecture of the model.
        portion: Its rows of the store, its codes and their statistics.
        tasks: What it predicts.
        model: Untrained, or with a trained body.
        loaded: How the weights of a checkpoint fitted; None: none were loaded.
        encoder: The encoder of another package, as it was given.
        foreign: Its name; None: the model is setvae's.
        elsewhere: Whether the weights that it begins with were trained on other data.
    """

    settings: TrainSettings
    portion: Portion
    tasks: Tasks
    model: Model
    loaded: Match | None = None
    encoder: SequenceEncoder | None = None
    foreign: str | None = None
    elsewhere: bool = False


def begin(
    settings: TrainSettings,
    store: Store,
    header: Header | None,
    encoder: SequenceEncoder | None,
) -> Begun:
    """Build the model of a run.

    Args:
        settings: Of the command.
        store: What it trains on.
        header: Of the checkpoint that the run goes on from, which brings its weights later.
        encoder: Of another package, to fine-tune.

    Raises:
        InputError: The store or the checkpoint cannot carry this run.
        SettingsError: Settings do not fit the labels or the encoder.
        RunError: The checkpoint lacks weights.
    """
    if isinstance(settings, FinetuneSettings):
        return _begin_tuned(settings, store, header, encoder)
    portion = rows_of(settings, store)
    tasks = tasks_of(settings.objective, store, portion.splits["train"])
    return Begun(settings, portion, tasks, _untrained(settings, portion, tasks))


def _begin_tuned(
    settings: FinetuneSettings,
    store: Store,
    header: Header | None,
    encoder: SequenceEncoder | None,
) -> Begun:
    if encoder is not None or settings.tuning.encoder is not None:
        return _begin_foreign(settings, store, header, encoder)
    portion = rows_of(settings, store)
    tasks = tuned_tasks(settings, store, portion.splits["train"])
    if header is not None:
        portion = with_sizes(portion, header)
        return Begun(settings, portion, tasks, _untrained(settings, portion, tasks))
    if settings.ckpt is None:  # from scratch, as a comparison asks for
        return Begun(settings, portion, tasks, _untrained(settings, portion, tasks))
    origin = open_origin(Path(settings.ckpt))
    check_unseen(settings, store, origin.header, origin.path, tasks.names)
    settings = with_architecture(settings, origin.header, origin.path)
    portion = with_sizes(portion, origin.header)
    model = _untrained(settings, portion, tasks)
    loaded = load_body(model, origin, allow_partial=settings.tuning.allow_partial)
    elsewhere = origin.header.data_digest != store.digest
    return Begun(settings, portion, tasks, model, loaded, elsewhere=elsewhere)


def tuned_tasks(settings: FinetuneSettings, store: Store, rows: NDArray[np.int64]) -> Tasks:
    """The labels that are asked for, or all of the store.

    Args:
        settings: Labels and classes.
        store: Whose labels.
        rows: Training rows.

    Raises:
        InputError: There is no label, or one that training subjects lack or have one class of.
        SettingsError: A label is not there, or has another number of classes.
    """
    names = tuple(dict.fromkeys(settings.tuning.label)) or store.tasks
    if not names:
        mend = "prepare the data with --labels, or name others with --data"
        raise InputError("holds no label to predict", where=str(store.path), mend=mend)
    for name in names:
        if name not in store.tasks:
            has = f"its labels are {', '.join(store.tasks)}" if store.tasks else "it has none"
            what = f"the data have no label {name!r:.60}; {has}"
            raise SettingsError(what, where="--label")
        labels = store.labels[rows, store.tasks.index(name)]
        classes = len(np.unique(labels[labels >= 0]))
        if classes < 2:
            what = f"the label {name} has 1 class in training, expected at least 2"
            what = what if classes else f"no training subject has the label {name}"
            raise InputError(what, where=str(store.path), mend="name another with --label")
    known = tuple(store.classes[store.tasks.index(name)] for name in names)
    _check_classes(settings.tuning.n_classes, names, known)
    return Tasks(names, known)


def _check_classes(
    given: tuple[int, ...], names: tuple[str, ...], classes: tuple[int, ...]
) -> None:
    if not given:
        return
    if len(given) not in (1, len(names)):
        what = f"gives {len(given)} numbers, and there are {len(names)} labels"
        raise SettingsError(what, where="--n-classes", mend="give one a label, or leave it out")
    wanted = given if len(given) == len(names) else given * len(names)
    for name, asked, found in zip(names, wanted, classes, strict=True):
        if asked != found:
            what = f"is {asked}, and {name} has {found} classes"
            raise SettingsError(what, where="--n-classes", mend="leave it out: labels tell")


def _untrained(settings: TrainSettings, portion: Portion, tasks: Tasks) -> SeqSetVAE:
    return build_untrained(
        settings,
        portion.vocabulary,
        classes=tasks.classes,
        set_size_p99=portion.shape.set_size_p99,
        time_scale=portion.shape.time_scale,
    )


def _begin_foreign(
    settings: FinetuneSettings,
    store: Store,
    header: Header | None,
    encoder: SequenceEncoder | None,
) -> Begun:
    portion, tuning, loaded = counted_rows(settings, store), settings.tuning, None
    tasks = tuned_tasks(settings, store, portion.splits["train"])
    if header is not None:
        portion = with_sizes(portion, header)
    if encoder is None:
        assert tuning.encoder is not None
        encoder = open_encoder(
            tuning.encoder,
            codes=len(portion.vocabulary.codes),
            pool=tuning.pool,
            seed=settings.run.seed,
        )
        if header is None and tuning.encoder_checkpoint is not None:
            weights, partial = tuning.encoder_checkpoint, tuning.allow_partial
            loaded = load_encoder(encoder, weights, allow_partial=partial)
    if header is None:
        portion = replace(portion, vocabulary=codes_of(encoder, store, portion.vocabulary))
    name = tuning.encoder or type(encoder).__name__
    model = build_classifier(settings, encoder, tasks.classes, name)
    without = settings.objective.model_copy(update=dict.fromkeys(_OF_THE_VAE, 0.0))
    settings = settings.model_copy(update={"objective": without})
    return Begun(settings, portion, tasks, model, loaded, encoder=encoder, foreign=name)
