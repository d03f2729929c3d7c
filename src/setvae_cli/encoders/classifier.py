"""An encoder of others with a head, in the place of a SeqSetVAE that has one.

A model of setvae needs none of this: fine-tuned it is a SeqSetVAE with another head, so that its
latents go on being watched, drawn and measured. An encoder of others has no latents.
"""

from __future__ import annotations

from torch import nn

from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.errors import RunError, SetvaeError
from setvae_cli.nn.mlp_head import Classified, Mlp
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.numbers import parameters


class Classifier(nn.Module):
    """Any encoder behind the door, and an `Mlp` on its embedding.

    Args:
        encoder: The encoder; a module of torch too.
        head: From its embedding to logits.
        name: What it is called in descriptions, such as the class of the encoder.

    Raises:
        TypeError: The encoder is no module.
    """

    def __init__(self, encoder: SequenceEncoder, head: Mlp, name: str = "") -> None:
        super().__init__()
        if not isinstance(encoder, nn.Module):
            raise TypeError("an encoder is a torch.nn.Module with embedding_size and encode")
        self.encoder: nn.Module = encoder
        self.head, self.name = head, name or type(encoder).__name__

    @property
    def needs_set_plan(self) -> bool:
        """Whether batches must come with rectangles by set."""
        return bool(getattr(self.encoder, "needs_set_plan", False))

    def description(self) -> str:
        """One line for a person."""
        weights = parameters(sum(p.numel() for p in self.parameters()))
        size = int(self.encoder.embedding_size)  # type: ignore[arg-type]
        return f"{self.name} of another package, {weights}, embedding {size}"

    def forward(self, batch: SetBatch, noise_seed: int | None = None) -> Classified:
        """Encode and predict; there is no noise to seed.

        Args:
            batch: A packed batch.
            noise_seed: Without effect.

        Raises:
            RunError: The encoder failed. What it says may quote data, so only its kind is told.
        """
        try:
            embedding = self.encoder.encode(batch)  # type: ignore[operator]
        except SetvaeError:
            raise
        except Exception as error:
            raise RunError(
                f"raised {type(error).__name__} on a batch of {batch.plan.subjects} subjects",
                where=f"the encoder {self.name}",
                mend="see all of it with --debug",
            ) from error
        return Classified(self.head(embedding.to(self.head.out.weight.dtype)), embedding)


Model = SeqSetVAE | Classifier
"""What a run trains, and what a checkpoint opens to."""


def vae_of(model: Model) -> SeqSetVAE:
    """The model, where it is known to have latents."""
    assert isinstance(model, SeqSetVAE)
    return model
