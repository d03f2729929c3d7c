"""Which codes an encoder knows: those of its own training by name, or those of the data by number.

An encoder of another package is shown the numbers of the store's own vocabulary, also where some
texts are left out and in every fold. A model of setvae has a row for each code that it was trained
on, so that it is shown other data only through their names.
"""

from __future__ import annotations

from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.setvae import SetvaeEncoder
from setvae_cli.errors import SettingsError
from setvae_cli.store.reader import Store
from setvae_cli.store.shareable import numbered_vocabulary
from setvae_cli.store.vocabulary import Vocabulary


def codes_of(encoder: SequenceEncoder, store: Store, counted: Vocabulary) -> Vocabulary:
    """The vocabulary that batches for an encoder are made with.

    Args:
        encoder: Whose.
        store: The data.
        counted: Its codes with the statistics of training rows.

    Raises:
        SettingsError: It is a model of setvae, and does not say which codes it knows.
    """
    if not isinstance(encoder, SetvaeEncoder):
        return numbered_vocabulary(store, counted)
    if encoder.vocabulary is None:
        raise SettingsError(
            "knows no names of codes, so that those of the data cannot be matched",
            where="SetvaeEncoder",
            mend="make it with vocabulary=, that of the checkpoint, or name the checkpoint instead",
        )
    return numbered_vocabulary(store, encoder.vocabulary)
