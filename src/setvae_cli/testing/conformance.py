r"""What every encoder must keep, as checks that anybody can run on theirs; needs no pytest.

From the command line, every rule a test:

    pytest -p setvae_cli.testing.plugin --pyargs setvae_cli.testing \
        --encoder my_package.my_module:MyEncoder

From a test of one's own:

    from setvae_cli.testing.conformance import check_encoder

    def test_my_encoder_keeps_the_rules():
        check_encoder(lambda: MyEncoder(codes=16), codes=16)

An encoder is what `--encoder` takes: a module with `encode`, a module that takes padded events, or
a callable, each with `embedding_size`; or a factory of one, which shows most, because a state that
is not in `state_dict` differs between two instances.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from setvae_cli.encoders.door import SequenceEncoder
from setvae_cli.encoders.opening import adapt
from setvae_cli.errors import RunError
from setvae_cli.testing import CODES
from setvae_cli.testing.subjects import Subject, batch_of, made_up

TOLERANCE = 1e-4  # of the largest number: rounding of float32 in sums of another order

Make = Callable[[], SequenceEncoder]
Rule = Callable[[Make, Sequence[Subject]], None]


class Broken(AssertionError):
    """An encoder breaks a rule; the text says which, and what to mend."""


def check_encoder(
    encoder: Any, subjects: Sequence[Subject] | None = None, *, codes: int = CODES
) -> None:
    """Check all rules.

    Args:
        encoder: An encoder, or a callable without embedding_size that makes one.
        subjects: What it is shown, at least three of different lengths; made up by default.
        codes: Codes of made-up subjects.

    Raises:
        Broken: It breaks some; the text has a line for each.
    """
    broken = []
    for rule in RULES:
        try:
            rule(maker(encoder), subjects or made_up(codes))
        except Broken as error:
            broken.append(str(error))
    if broken:
        raise Broken("\n".join(broken))


def maker(encoder: Any) -> Make:
    """What makes an encoder again and again, behind the door and in evaluation mode."""
    is_one = isinstance(encoder, nn.Module) or hasattr(encoder, "embedding_size")
    if is_one and not isinstance(encoder, type):
        return lambda: _evaluated(adapt(copy.deepcopy(encoder)))
    return lambda: _evaluated(adapt(encoder()))


def there_is_one_row_a_subject(make: Make, subjects: Sequence[Subject]) -> None:
    """encode gives floating-point numbers [subjects, embedding_size]."""
    encoder = make()
    rows: Any = _encoded(encoder, subjects)
    expected = (len(subjects), encoder.embedding_size)
    if not isinstance(rows, Tensor) or tuple(rows.shape) != expected:
        shape = list(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise Broken(f"encode gave {shape}, expected {list(expected)}: give a row a subject.")
    if not rows.is_floating_point():
        raise Broken(f"encode gave {rows.dtype}: give floating-point numbers.")


def a_row_depends_only_on_its_subject(make: Make, subjects: Sequence[Subject]) -> None:
    """Other values in the other subjects of a batch leave a row as it is."""
    encoder = make()
    others = [each.with_other_values() for each in subjects[1:]]
    _same(
        _encoded(encoder, subjects)[0],
        _encoded(encoder, [subjects[0], *others])[0],
        "a row changes with the values of other subjects in its batch: let nothing be normalised "
        "or averaged over the batch in evaluation mode (BatchNorm: use its running statistics).",
    )


def padding_does_not_matter(make: Make, subjects: Sequence[Subject]) -> None:
    """A subject gives the same row alone and beside a longer one."""
    encoder = make()
    ordered = sorted(subjects, key=lambda each: len(each.keys))
    for short in ordered[:-1]:
        _same(
            _encoded(encoder, [short])[0],
            _encoded(encoder, [short, ordered[-1]])[0],
            "a row changes when a longer subject stands in its batch, so padding leaks in: read "
            "events below seq_lens only, in pooling, attention and recurrence.",
        )


def the_order_of_the_batch_does_not_matter(make: Make, subjects: Sequence[Subject]) -> None:
    """Subjects in another order give the same rows in that order."""
    encoder = make()
    forward = _encoded(encoder, subjects)
    backward = _encoded(encoder, [*subjects][::-1])
    _same(
        forward,
        backward.flip(0),
        "rows change with the order of the subjects: let nothing depend on the place in the batch, "
        "and give rows in the order of the batch.",
    )


def one_event_is_enough(make: Make, subjects: Sequence[Subject]) -> None:
    """A subject with one event gives finite numbers, alone and beside others."""
    encoder = make()
    single = subjects[0].first_event()
    for several in ([single], [single, *subjects]):
        if not bool(_encoded(encoder, several).isfinite().all()):
            raise Broken(
                "a subject with one event gives numbers that are not finite: divide by no standard "
                "deviation, gap or count that may be 0."
            )


def evaluation_is_deterministic(make: Make, subjects: Sequence[Subject]) -> None:
    """The same batch gives the same numbers twice."""
    encoder = make()
    if not torch.equal(_encoded(encoder, subjects), _encoded(encoder, subjects)):
        raise Broken(
            "the same batch gives different numbers in evaluation mode: draw noise and dropout "
            "while self.training only."
        )


def the_state_makes_a_round_trip(make: Make, subjects: Sequence[Subject]) -> None:
    """Another instance with the state of one that has learned gives its rows."""
    first, second = make(), make()
    _train_once(first, subjects)
    _shake(second)
    state = copy.deepcopy(_module(first).state_dict())
    try:
        _module(second).load_state_dict(state)
    except RuntimeError as error:
        raise Broken(
            f"another instance does not take the state_dict ({str(error).splitlines()[0]}): let "
            "names and shapes be the same in every instance."
        ) from error
    _same(
        _encoded(first, subjects),
        _encoded(second, subjects),
        "another instance with the same state_dict gives other rows: keep all that is learned or "
        "drawn in parameters and registered buffers.",
    )


def gradients_reach_every_unfrozen_parameter(make: Make, subjects: Sequence[Subject]) -> None:
    """Every parameter with requires_grad has a part in the rows."""
    encoder = make()
    module = _module(encoder)
    _fill_zeros(module)  # behind a map that begins at zero no gradient could be seen
    module.train()
    rows = encoder.encode(_as(module, subjects))
    if any(each.requires_grad for each in module.parameters()):
        if not rows.requires_grad:
            raise Broken("rows have no gradient: detach nothing, and leave no_grad out of encode.")
        _loss(rows).backward()
    unreached = [name for name, each in module.named_parameters() if _is_unreached(each)]
    if unreached:
        raise Broken(
            f"no gradient reaches {', '.join(unreached)}: let encode use them, or set "
            "requires_grad to False."
        )


RULES: tuple[Rule, ...] = (
    there_is_one_row_a_subject,
    a_row_depends_only_on_its_subject,
    padding_does_not_matter,
    the_order_of_the_batch_does_not_matter,
    one_event_is_enough,
    evaluation_is_deterministic,
    the_state_makes_a_round_trip,
    gradients_reach_every_unfrozen_parameter,
)


def _module(encoder: SequenceEncoder) -> nn.Module:
    return cast("nn.Module", encoder)


def _evaluated(encoder: SequenceEncoder) -> SequenceEncoder:
    _module(encoder).eval()
    return encoder


def _as(module: nn.Module, subjects: Sequence[Subject]) -> Any:
    """A batch in the module's precision."""
    weight = next(module.parameters(), None)
    batch = batch_of(subjects)
    return batch.double() if weight is not None and weight.dtype == torch.float64 else batch


def _encoded(encoder: SequenceEncoder, subjects: Sequence[Subject]) -> Tensor:
    try:
        with torch.no_grad():
            return encoder.encode(_as(_module(encoder), subjects))
    except RunError as error:
        raise Broken(f"{error}.") from error


def _same(one: Tensor, other: Tensor, mend: str) -> None:
    """Compare what is not finite too: a NaN on both sides is another rule's matter."""
    scale = float(one.nan_to_num().abs().max().clamp_min(1e-6))
    close = torch.isclose(one, other, rtol=0, atol=TOLERANCE * scale, equal_nan=True)
    if not bool(close.all()):
        raise Broken(mend)


def _loss(rows: Tensor) -> Tensor:
    """Weighs every number of every row differently, so that no symmetry hides a gradient."""
    weights = torch.arange(1, rows.numel() + 1, dtype=rows.dtype).sin().view_as(rows)
    return (rows * weights).sum() + rows.square().sum()


def _is_unreached(parameter: nn.Parameter) -> bool:
    if not parameter.requires_grad or not parameter.numel():
        return False
    if parameter.grad is None:
        return True
    # The one bias of scores before a softmax shifts them all: its gradient is 0 up to rounding.
    return parameter.numel() > 1 and not bool(parameter.grad.any())


def _train_once(encoder: SequenceEncoder, subjects: Sequence[Subject]) -> None:
    """A step of learning: weights move, and so does what a module counts in training mode."""
    module = _module(encoder).train()
    rows = encoder.encode(_as(module, subjects))
    learning = [each for each in module.parameters() if each.requires_grad]
    if learning and rows.requires_grad:
        gradients = torch.autograd.grad(_loss(rows), learning, allow_unused=True)
        with torch.no_grad():
            for parameter, gradient in zip(learning, gradients, strict=True):
                if gradient is not None:
                    parameter.sub_(0.01 * gradient / gradient.norm().clamp_min(1.0))
    module.eval()


def _shake(encoder: SequenceEncoder) -> None:
    """Other weights."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for each in _module(encoder).parameters():
            each.add_(0.1 * torch.randn(each.shape, generator=generator).to(each))


def _fill_zeros(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for each in module.parameters():
            if not each.any():
                each.add_(0.2 * torch.randn(each.shape, generator=generator).to(each))
