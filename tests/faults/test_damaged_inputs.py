"""Damaged input of any kind ends in a result or in one line: no crash, no hang, no traceback.

Most of these formats carry no checksum, so that a changed number is a number; what was read is told
by the digest in the store's manifest.
"""

from __future__ import annotations

import pytest

from setvae_cli.errors import SetvaeError
from tests.faults.damage import KINDS, TIMES, put
from tests.faults.foreign import FORMATS
from tests.faults.limits import within

DAMAGED = 100 * TIMES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_input_is_read_or_refused(tmp_path, report, name, kind) -> None:
    path = FORMATS[name].make(tmp_path)
    whole, digest = path.read_bytes(), FORMATS[name].use(path)
    injected = survived = 0
    for content in KINDS[kind](whole, DAMAGED):
        put(path, content)
        injected += 1
        try:
            with within(20):
                found = FORMATS[name].use(path)
        except SetvaeError as error:
            assert "\n" not in str(error)
            assert error.exit_code in (1, 2)
        else:
            assert found is None or (found == digest) == (content == whole)
        survived += 1
    report(f"{kind}, {name}", injected=injected, survived=survived, silent_wrong=None)
