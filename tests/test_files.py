from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from setvae_cli import files
from setvae_cli.errors import InputError, RunError


def test_a_written_file_is_private_and_leaves_no_temporary(tmp_path: Path) -> None:
    files.atomic_write(tmp_path / "a.txt", "naïve")
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "naïve"
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    files.atomic_write(target, "old")
    with pytest.raises(KeyboardInterrupt), files.atomic_writer(target) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("name", ["fsync", "replace", "chmod", "open"])
@pytest.mark.parametrize("call", [1, 2])
def test_a_failing_system_call_leaves_the_old_or_the_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, call: int
) -> None:
    target = tmp_path / "a.txt"
    files.atomic_write(target, "old")
    real, count = getattr(os, name), [0]

    def fail(*args: object, **kwargs: object) -> object:
        count[0] += 1
        if count[0] == call:
            raise OSError(errno.ENOSPC, "full")
        return real(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(os, name, fail)
        try:
            files.atomic_write(target, "new")
        except RunError as error:
            assert "no space left" in str(error)
    assert target.read_text() in ("old", "new")
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_a_folder_appears_whole_and_never_over_another(tmp_path: Path) -> None:
    for content in ("first", "second"):
        try:
            with files.atomic_path(tmp_path / "folder") as folder:
                folder.mkdir()
                (folder / "x").write_text(content)
        except RunError as error:
            assert content == "second"
            assert "folder" in str(error)
    assert (tmp_path / "folder" / "x").read_text() == "first"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_hidden_by_a_library_is_found_in_the_chain(tmp_path: Path) -> None:
    def library() -> None:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise RuntimeError("unexpected pos 64 vs 0") from error

    line = r"a\.bin: cannot be written: no space left.*free some"
    with pytest.raises(RunError, match=line), files.disk_errors(Path("a.bin")):
        library()


def test_temporaries_of_killed_processes_are_swept_and_living_ones_stay(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from setvae_cli.files import atomic_path\n"
        "with atomic_path(pathlib.Path(sys.argv[1])) as path:\n"
        "    path.mkdir(); (path / 'x').write_text('x')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "out")], check=False)
    with files.atomic_path(tmp_path / "mine") as living:
        living.write_text("mine")
        assert files.sweep_orphans(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_a_temporary_whose_process_number_was_given_again_is_swept(tmp_path: Path) -> None:
    name = files.temporary_name()
    mine, other = tmp_path / name, tmp_path / name.replace(f"{os.getpid()}.", f"{os.getpid()}.1")
    for path in (mine, other):
        path.touch()
    assert files.sweep_orphans(tmp_path) == 1
    assert list(tmp_path.iterdir()) == [mine]


def test_a_temporary_of_another_container_on_this_host_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = 2**22 + 1  # no process has this number, there another may
    temporary = tmp_path / f".tmp-{files._machine()}-{gone}-0"
    temporary.touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "readlink", lambda _: "pid:[1]")
        assert files.sweep_orphans(tmp_path) == 0
    assert files.sweep_orphans(tmp_path) == 1


def test_a_file_where_a_folder_is_needed_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="stands where a folder"):
        files.make_folder(tmp_path / "file")
    with pytest.raises(InputError, match="stands where a folder"):
        files.make_folder(tmp_path / "file" / "below")


def _missing(path: Path) -> Path:
    return path / "nothing"


def _folder(path: Path) -> Path:
    return path


def _empty(path: Path) -> Path:
    (path / "empty").touch()
    return path / "empty"


def _loop(path: Path) -> Path:
    (path / "loop").symlink_to(path / "loop")
    return path / "loop"


def _pipe(path: Path) -> Path:
    os.mkfifo(path / "pipe")
    return path / "pipe"


def _device(path: Path) -> Path:
    return Path("/dev/zero")


@pytest.mark.parametrize(
    ("make", "finding"),
    [
        (_missing, "no such file"),
        (_folder, "is a folder"),
        (_empty, "is empty, 0 bytes"),
        (_loop, "symbolic links"),
        (_pipe, "no regular file"),
        (_device, "no regular file"),
    ],
)
def test_what_is_no_readable_file_is_refused_by_name(tmp_path: Path, make, finding: str) -> None:
    path = make(tmp_path)
    with pytest.raises(InputError, match=finding) as caught:
        files.check_regular(path, "outcomes")
    assert str(caught.value).startswith(str(path))


def test_checksums_are_those_of_the_standards(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert files.sha256(tmp_path / "abc").startswith("ba7816bf8f01cfea414140de5dae2223")
    assert files.checksum_bytes(b"123456789") == "cbf43926"


def test_a_disk_without_room_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    files.check_space(tmp_path / "new" / "folder", 1, "the store")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(
        InputError,
        match=r"^\S+/new: has [\d.]+ .?B free, expected at least 500 TB for the store; free",
    ):
        files.check_space(tmp_path / "new", 5 * 10**14, "the store")


def test_a_disk_that_does_not_say_how_full_it_is_is_not_refused() -> None:
    if not os.path.ismount("/proc"):
        pytest.skip("needs a disk without blocks")
    files.check_space(Path("/proc/new"), 5 * 10**14, "the store")


def test_the_group_reads_what_is_written_only_when_asked_for(tmp_path: Path) -> None:
    def modes(name: str) -> list[int]:
        files.atomic_write(files.make_folder(tmp_path / name) / "a.txt", "x")
        with files.atomic_path(tmp_path / name / "whole") as folder:
            files.make_folder(folder / "inner")
            (folder / "b.txt").write_text("x")
        paths = [tmp_path / name, *sorted((tmp_path / name).rglob("*"))]
        return [stat.S_IMODE(path.stat().st_mode) for path in paths]

    before = os.umask(0o077)
    try:
        assert modes("alone") == [0o700, 0o600, 0o700, 0o600, 0o700]
        files.share_with_group()
        assert modes("shared") == [0o750, 0o640, 0o750, 0o640, 0o750]
        files.share_with_group(False)
        os.umask(0o077)
        assert modes("alone_again") == [0o700, 0o600, 0o700, 0o600, 0o700]
    finally:
        files.share_with_group(False)
        os.umask(before)
