"""How numbers read on the screen: thousands apart, times as a clock, columns aligned."""

from __future__ import annotations

from collections.abc import Sequence


def count(number: float) -> str:
    """A whole number with its thousands apart.

    >>> count(1234567)
    '1 234 567'
    """
    return f"{round(number):,}".replace(",", " ")


def counted(number: int, noun: str) -> str:
    """A count with its noun, in the plural where it is not one.

    >>> counted(1, "epoch"), counted(1200, "epoch")
    ('1 epoch', '1 200 epochs')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def parameters(number: int) -> str:
    """The size of a model: in millions, or where these would round to nothing as it is.

    >>> parameters(345_678), parameters(5665)
    ('0.3 M parameters', '5 665 parameters')
    """
    return f"{number / 1e6:.1f} M parameters" if number >= 50_000 else counted(number, "parameter")


def short_count(number: int) -> str:
    """A count in at most seven characters: millions and more are rounded.

    >>> short_count(31_020_000), short_count(28001)
    ('31.0 M', '28 001')
    """
    for scale, unit in ((10**9, "G"), (10**6, "M")):
        if number >= scale:
            return f"{number / scale:.1f} {unit}"
    return count(number)


def percent(share: float) -> str:
    """A share of 1 in percent, with one decimal.

    >>> percent(0.1385)
    '13.9 %'
    """
    return f"{100 * share:.1f} %"


def clock(seconds: float) -> str:
    """A duration, minutes and seconds, or hours before them.

    >>> clock(41), clock(3725)
    ('0:41', '1:02:05')
    """
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def size(octets: int) -> str:
    """A file size in decimal units.

    >>> size(268_400_000)
    '268 MB'
    """
    for scale, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if octets >= scale:
            return f"{octets / scale:.3g} {unit}"
    return f"{octets} B"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as lines: the first column to the left, the others to the right.

    >>> aligned([("split", "sets"), ("train", "7")])
    ['split  sets', 'train     7']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        f"{row[0]:<{widths[0]}}"
        + "".join(f"  {cell:>{width}}" for cell, width in zip(row[1:], widths[1:], strict=True))
        for row in rows
    ]
