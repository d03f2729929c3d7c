"""A store's files are compared with their checksums beside the run that reads them.

size, time and inode as remembered          -> not read again
read, checksum right                        -> remembered, and looked at until the run ends
read, checksum wrong, or replaced later on  -> the next `check` raises
"""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from setvae_cli.errors import DataError, SetvaeError
from setvae_cli.store.format import FileEntry
from setvae_cli.store.reader import Store
from setvae_cli.store.remembered import FileState, file_state, recall, remember

BLOCK = 8 << 20  # bytes read at once: few turns of the interpreter, and still a prompt end
PAUSE = 0.05  # seconds between two blocks, so that no step is slower: 140 MB/s at most
SAVE_EVERY = 30.0  # seconds of reading that a killed process may have to repeat
PATIENCE = 5.0  # seconds that a disk which does not answer may hold the end of a run
_log = logging.getLogger(__name__)


def read_blocks(path: Path) -> Iterator[memoryview]:
    """The bytes of a file, in blocks; each holds until the next is asked for."""
    buffer = bytearray(BLOCK)
    with open(path, "rb", buffering=0) as file:
        while size := file.readinto(buffer):
            yield memoryview(buffer)[:size]


class Vigil:
    """Verifies a store in a thread; a context that starts it and ends it.

    The thread has the lowest priority, and computes without holding the interpreter. Two stores
    of equal digests share one memory.

    Args:
        store: What the run reads.
        memory: Folder that remembers what was verified, made when needed; None: nothing does.
        read: Gives the bytes of a file.
        look_every: Seconds between two looks at whether a verified file was replaced.
    """

    def __init__(
        self,
        store: Store,
        memory: Path | None,
        *,
        read: Callable[[Path], Iterator[memoryview]] = read_blocks,
        look_every: float = 5.0,
    ) -> None:
        self._store, self._memory, self._read = store, memory, read
        self._look_every, self._next_look = look_every, 0.0
        self._verified: dict[str, FileState] = {}
        self._fault: DataError | None = None
        self._closed, self._hurried = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._verify, name="vigil", daemon=True)

    def __enter__(self) -> Vigil:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Begin to verify."""
        self._thread.start()

    def check(self) -> None:
        """Say what was found so far; cheap enough for every step.

        Raises:
            DataError: A file differs from its checksum, or was replaced after it was verified.
        """
        if self._fault is None and time.monotonic() >= self._next_look:
            self._look()
            self._next_look = time.monotonic() + self._look_every
        if self._fault is not None:
            raise self._fault

    def finish(self) -> None:
        """Wait until every file was verified, now as fast as the disk is, and say what was found.

        Raises:
            DataError: As `check`.
        """
        self._hurried.set()  # there is no step any more that it could slow down
        self._thread.join()
        self._next_look = 0.0
        self.check()

    def close(self) -> None:
        """End the thread, also in the middle of a file; what it verified stays remembered."""
        self._closed.set()
        self._hurried.set()
        if self._thread.is_alive():
            self._thread.join(PATIENCE)

    def _verify(self) -> None:
        _give_way()
        try:
            self._verify_files()
        except DataError as error:
            self._fault = error

    def _verify_files(self) -> None:
        known = recall(self._memory, self._store.digest) if self._memory else {}
        unread = []
        for name, entry in self._store.manifest.files.items():
            state = file_state(self._store.path / name)
            if state is not None and state == known.get(name):
                self._verified[name] = state
            else:
                unread.append((name, entry))
        saved = time.monotonic()
        try:
            for name, entry in unread:
                if self._closed.is_set():
                    break
                self._verify_file(name, entry)
                if time.monotonic() - saved > SAVE_EVERY:
                    self._remember()
                    saved = time.monotonic()
        finally:
            if unread:
                self._remember()

    def _verify_file(self, name: str, entry: FileEntry) -> None:
        path = self._store.path / name
        before = file_state(path)
        digest = hashlib.sha256()
        try:
            for block in self._read(path):
                digest.update(block)
                if len(block) == BLOCK:
                    self._hurried.wait(PAUSE)
                if self._closed.is_set():
                    return
        except OSError as error:
            raise self._bad(name, "is missing or cannot be read any more") from error
        if digest.hexdigest() != entry.sha256:
            raise self._bad(name, "was changed since it was written: its checksum differs")
        if before is None or file_state(path) != before:
            raise self._bad(name, "was replaced while it was read")
        self._verified[name] = before

    def _look(self) -> None:
        for name, state in self._verified.copy().items():
            if file_state(self._store.path / name) != state:
                self._fault = self._bad(name, "was replaced while it was in use")

    def _remember(self) -> None:
        if self._memory is None or not self._verified:
            return
        try:
            remember(self._memory, self._store.digest, self._verified)
        except SetvaeError as error:
            _log.info("what was verified of the store cannot be remembered: %s", error)

    def _bad(self, name: str, what: str) -> DataError:
        path = self._store.path
        cached = self._memory is not None and path.parent == self._memory
        mend = (
            f"remove {path}, the next run makes it again" if cached else "prepare the store again"
        )
        return DataError(what, where=str(path / name), mend=mend)


def _give_way() -> None:
    """Lower the priority of this thread alone; where that is not known to work, of nothing."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)
