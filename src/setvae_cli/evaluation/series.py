"""What was measured of a subject over time, and what the model's decoder says of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.evaluation.latents import CodeSeries, SubjectSeries
from setvae_cli.losses.reconstruction import predicted_values
from setvae_cli.monitor.groups import NORMAL_QUANTILE
from setvae_cli.nn.decoders import QueryDecoder
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from setvae_cli.store.vocabulary import Vocabulary

MOST_CODES = 6

Array = NDArray[np.float64]


def series_of(
    model: SeqSetVAE,
    vocabulary: Vocabulary,
    batch: SetBatch,
    output: Output,
    hours: Tensor,
    *,
    label: NDArray[np.int64],
) -> tuple[SubjectSeries, ...]:
    """The most frequent numeric codes of every subject of a batch.

    Args:
        model: A model with the query decoder; another one has no series.
        vocabulary: The model's.
        batch: The subjects.
        output: Of the batch, without noise.
        hours: Of each set, since its subject's first.
        label: Class of each subject; -1 where missing.
    """
    if not isinstance(model.decoder, QueryDecoder):
        return ()
    said, plan = predicted_values(model.decoder, output.decoded, batch), batch.plan
    subject, keys, time, value, mean, sigma = (
        part.cpu().numpy()
        for part in (
            plan.set_subject.index_select(0, plan.element_set),
            batch.keys.long(),
            hours.index_select(0, plan.element_set).float(),
            batch.values.double(),
            said.location.double(),
            said.sigma.double(),
        )
    )
    numeric = np.array([kind == "numeric" for kind in vocabulary.kinds])
    drawn = batch.value_mask.cpu().numpy() & numeric[keys]
    reach = NORMAL_QUANTILE * sigma
    columns = np.stack([value, mean, mean - reach, mean + reach])
    found = []
    for number, row in enumerate(batch.rows.tolist()):
        mine = np.flatnonzero(drawn & (subject == number))
        series = _codes(vocabulary, keys[mine], time[mine], columns[:, mine])
        found.append(SubjectSeries(row, int(label[number]), tuple(series)))
    return tuple(found)


def spread_over(order: NDArray[np.float32], n_sets: NDArray[np.int64], wanted: int) -> list[int]:
    """Places of subjects that stand for the others: spread over an order, with much to see.

    Args:
        order: [subjects] what they are spread over; NaN sorts last.
        n_sets: [subjects] sets; those with fewer than the median are passed over.
        wanted: How many.
    """
    long = np.flatnonzero(n_sets >= np.median(n_sets))
    ranked = long[np.argsort(order[long], kind="stable")]
    places = np.linspace(0, len(ranked) - 1, min(wanted, len(ranked))).round().astype(np.int64)
    return [int(ranked[place]) for place in places]


def _codes(
    vocabulary: Vocabulary,
    keys: NDArray[np.int64],
    time: NDArray[np.float32],
    columns: Array,
) -> Iterator[CodeSeries]:
    counts = np.bincount(keys, minlength=len(vocabulary.codes))
    for code in np.argsort(-counts, kind="stable")[:MOST_CODES].tolist():
        if not counts[code]:
            return
        here = keys == code
        scale, centre = (vocabulary.std[code], vocabulary.mean[code])
        observed, predicted, low, high = (columns[:, here] * scale + centre).astype(np.float32)
        yield CodeSeries(vocabulary.codes[code], time[here], observed, predicted, low, high)
