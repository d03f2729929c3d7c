"""How well the values of each code are reconstructed, summed over a stream of batches."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.evaluation.latents import VariableErrors
from setvae_cli.losses.reconstruction import PredictedValues, predicted_values
from setvae_cli.nn.decoders import QueryDecoder
from setvae_cli.nn.seq_set_vae import Output, SeqSetVAE
from setvae_cli.store.vocabulary import Vocabulary

CHAMFER = "the chamfer decoder makes whole sets of elements, and no value of a code"
FEWEST = 10  # subjects with a value of a code; a mean over fewer tells of single people
NO_VALUES = f"no code has values of {FEWEST} subjects in this split"


class CodeErrors:
    """Running sums a code.

    Args:
        model: Whose decoder is measured.
        vocabulary: The model's.
    """

    def __init__(self, model: SeqSetVAE, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        device = next(model.parameters()).device
        numeric = torch.tensor([kind == "numeric" for kind in vocabulary.kinds])
        self._is_numeric = numeric.to(device)
        # occurrences, absolute errors, nats
        self._sums = torch.zeros(len(vocabulary.codes), 3, dtype=torch.float64, device=device)
        self._subjects = torch.zeros(len(vocabulary.codes), dtype=torch.long, device=device)
        self._reason = "" if isinstance(model.decoder, QueryDecoder) else CHAMFER

    def add(self, model: SeqSetVAE, batch: SetBatch, output: Output) -> None:
        """Add a batch of whole subjects; nothing for a decoder that makes no values."""
        if not isinstance(model.decoder, QueryDecoder):
            return
        said = predicted_values(model.decoder, output.decoded, batch)
        mask, keys = batch.value_mask, batch.keys.long()
        error = torch.where(mask, self._error(said, batch, keys), 0.0)
        columns = torch.stack([mask.double(), error.double(), said.nll.double()], 1)
        self._sums.index_add_(0, keys, columns)
        plan = batch.plan
        owner = plan.set_subject[plan.element_set]
        pairs = torch.unique(keys[mask] * plan.subjects + owner[mask])
        self._subjects += torch.bincount(pairs // plan.subjects, minlength=len(self._subjects))

    def finish(self) -> VariableErrors:
        """The means, most frequent code first; reads the device."""
        sums = self._sums.cpu().numpy()
        order = np.argsort(-sums[:, 0], kind="stable")
        order = order[self._subjects.cpu().numpy()[order] >= FEWEST]
        count, error, nats = sums[order].T
        reason = self._reason or ("" if len(order) else NO_VALUES)
        return VariableErrors(
            code=[self._vocabulary.codes[i] for i in order.tolist()],
            count=count.astype(np.int64),
            error=error / count,
            nats=nats / count,
            reason=reason,
            kind=[self._vocabulary.kinds[i] for i in order.tolist()],
        )

    def _error(
        self, said: PredictedValues, batch: SetBatch, keys: Tensor
    ) -> Float[Tensor, "elements"]:
        """Distance of numeric codes; of others the probability of what was not the case."""
        distance = (said.location - batch.values).abs()
        return torch.where(self._is_numeric[keys], distance, -torch.expm1(-said.nll))
