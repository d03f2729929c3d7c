"""Small random models and batches in float64, for tests of nn and losses."""

from __future__ import annotations

import numpy as np
import torch

from setvae_cli.data.batch import SetBatch, make_plan
from setvae_cli.nn.build import build_model
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.settings.model import ModelSettings
from setvae_cli.store.vocabulary import Vocabulary

CLASSES = (2, 3)
KINDS = ("numeric", "binary", "presence", "category", "numeric", "numeric", "numeric", "numeric")

ORIGINAL = dict(
    preset="original",
    dim=16,
    latent_dim=16,
    levels=2,
    prior="standard",
    bottleneck=True,
    element_embedding="product",
    set_encoder="attention",
    set_attention="induced",
    inducing_points=3,
    heads=2,
    ff_dim=16,
    layers=2,
    pooling="original",
    variable_dim=0,
    decoder="chamfer",
    decoder_context="state",
)
SMALL = dict(dim=8, latent_dim=6, heads=2, ff_dim=12, variable_dim=6, embedding_dim=10)
ARCHITECTURES = {
    "base": SMALL,
    "original": ORIGINAL,
    "bottleneck": SMALL | dict(bottleneck=True),
    "levels": SMALL | dict(levels=3, set_encoder="attention", set_attention="full"),
    "induced": SMALL | dict(set_encoder="attention", set_attention="induced", inducing_points=4),
    "bidirectional": SMALL
    | dict(history="bidirectional", prior="standard", decoder_context="latent"),
    "standard prior": SMALL | dict(prior="standard", decoder_context="state", layers=2),
    "chamfer full": SMALL
    | dict(decoder="chamfer", set_encoder="attention", set_attention="full", decoder_tanh=True),
    "product bag": SMALL | dict(element_embedding="product", levels=2),
}


def make_vocabulary(
    kinds: tuple[str, ...] = KINDS, embedding: np.ndarray | None = None
) -> Vocabulary:
    generator = np.random.default_rng(0)
    quantiles = {
        "numeric": lambda: np.sort(generator.normal(50, 20, 17)).astype(np.float32),
        "binary": lambda: np.array([0, 1], np.float32),
        "presence": lambda: np.zeros(0, np.float32),
        "category": lambda: np.array([1, 2, 5], np.float32),
    }
    numeric = np.array([kind == "numeric" for kind in kinds])
    return Vocabulary(
        codes=tuple(f"code {i}" for i in range(len(kinds))),
        kinds=kinds,
        counts=np.arange(10, 10 + len(kinds)),
        mean=np.where(numeric, 50.0, 0.0),
        std=np.where(numeric, 20.0, 1.0),
        quantiles=tuple(quantiles[kind]() for kind in kinds),
        embedding=embedding,
    )


def make_batch(
    sizes: list[list[int]], *, seed: int = 0, with_sets: bool = True, kinds: tuple[str, ...] = KINDS
) -> SetBatch:
    """A random batch; sizes are the elements of each set of each subject."""
    generator = torch.Generator().manual_seed(seed)
    set_sizes = torch.tensor([n for subject in sizes for n in subject])
    per_subject = torch.tensor([len(subject) for subject in sizes])
    elements = int(set_sizes.sum())
    keys = torch.randint(len(kinds), (elements,), generator=generator)
    values = 1.3 * torch.randn(elements, generator=generator, dtype=torch.float64)
    chances = torch.rand(elements, generator=generator, dtype=torch.float64)
    kind = [kinds[key] for key in keys]
    mask = torch.tensor([k != "presence" for k in kind])
    is_binary = torch.tensor([k == "binary" for k in kind])
    is_category = torch.tensor([k == "category" for k in kind])
    values = torch.where(is_binary, (chances < 0.4).double(), values)
    classes = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    values = torch.where(is_category, classes[(chances * 3).long()], values)
    minutes = [
        torch.rand(n, generator=generator, dtype=torch.float64).cumsum(0) * 60 for n in per_subject
    ]
    labels = torch.stack([torch.arange(len(sizes)) % n for n in CLASSES], 1)
    label_mask = torch.ones_like(labels, dtype=torch.bool)
    label_mask[0, 1] = False
    return SetBatch(
        keys=keys.to(torch.int32),
        values=torch.where(mask, values, 0.0),
        value_mask=mask,
        set_sizes=set_sizes,
        positions=torch.cat(minutes)[:, None],
        sets_per_subject=per_subject,
        rows=torch.arange(len(sizes)),
        labels=torch.where(label_mask, labels, -1),
        label_mask=label_mask,
        plan=make_plan(
            set_sizes,
            per_subject,
            with_sets=with_sets,
            step_labelled=tuple(label_mask.sum(0).tolist()),
        ),
    )


def make_model(
    name: str, *, seed: int = 0, vocabulary: Vocabulary | None = None, **changes
) -> SeqSetVAE:
    """A small model in float64 and evaluation mode, zero-initialised parts made non-zero."""
    torch.manual_seed(seed)
    model = build_model(
        ModelSettings(**(ARCHITECTURES[name] | changes)),
        vocabulary or make_vocabulary(),
        classes=CLASSES,
        set_size_p99=5.0,
        time_scale=100.0,
    ).double()
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(0, 0.2)
    return model.eval()
