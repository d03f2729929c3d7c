"""The rules of an encoder, a test each: see conformance.py for how to run them on one's own.

Without `--encoder` they are about a small model of setvae.
"""

from __future__ import annotations

import copy

import pytest

from setvae_cli.encoders.opening import open_encoder
from setvae_cli.testing import CODES
from setvae_cli.testing.conformance import RULES, Broken, Make, Rule, maker
from setvae_cli.testing.own_encoder import own_encoder
from setvae_cli.testing.subjects import made_up


@pytest.fixture
def codes(request: pytest.FixtureRequest) -> int:
    """Codes of the events."""
    return int(request.config.getoption("--encoder-codes", default=CODES))


@pytest.fixture
def make(request: pytest.FixtureRequest, codes: int) -> Make:
    """Makes the encoder that was named."""
    name = request.config.getoption("--encoder", default=None)
    if name is None:
        return maker(lambda: own_encoder(codes))
    return lambda: copy.deepcopy(open_encoder(name, codes=codes))


@pytest.mark.parametrize("rule", RULES, ids=[rule.__name__ for rule in RULES])
def test_the_encoder_keeps_the_rule(rule: Rule, make: Make, codes: int) -> None:
    try:
        rule(make, made_up(codes))
    except Broken as error:
        pytest.fail(str(error), pytrace=False)
