"""What doctor says about a machine: it never guesses, and it names no host, user or value."""

import os
import resource
import subprocess
from pathlib import Path

import pytest

from setvae_cli.cli.leftovers import LAUNCHER
from setvae_cli.reports.doctor import devices, system
from setvae_cli.reports.doctor.packages import packages, versions


def test_this_environment_is_as_setvae_asks_for() -> None:
    section = versions()
    assert [finding for finding in section.findings if finding.state != "ok"] == []
    assert [finding.name for finding in section.findings][:4] == [
        "python",
        "setvae",
        "torch",
        "pytorch-lightning",
    ]


@pytest.mark.parametrize("version", ["2.6.2", "2.6.3", "2.7.0", "1.9.5"])
def test_a_lightning_that_could_run_code_is_a_warning_with_the_reason(version: str) -> None:
    (finding,) = packages(["pytorch-lightning>=2.6.6,<2.7"], lambda name: version)
    assert (finding.value, finding.state) == (version, "warn")
    assert "install 'pytorch-lightning<2.7,>=2.6.6'" in str(finding.mend)
    assert "compromised" in str(finding.mend)


def test_a_missing_package_is_wrong_and_extras_are_nobodys_business() -> None:
    needed = ["numpy>=2.0", 'dask>=1; extra == "dask"', "psutil>=6"]
    found = packages(needed, {"psutil": "7.1"}.get)
    assert [(one.name, one.state) for one in found] == [("numpy", "wrong"), ("others", "ok")]
    assert found[0].mend == "install 'numpy>=2.0'"


def test_devices_say_what_there_is() -> None:
    found = {one.name: one for one in devices.devices().findings}
    assert found["cores"].value.startswith(f"{len(os.sched_getaffinity(0))} usable of ")
    assert "32" in found["precision"].value
    assert " free of " in found["memory"].value


def test_a_cpu_without_units_for_bfloat16_is_said_to_be_slower_with_it(monkeypatch) -> None:
    for name in ("amx_tile", "avx512_bf16"):
        monkeypatch.setattr(f"torch.cpu._is_{name}_supported", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert devices.precisions().value == "32, 64; bf16-mixed works, slower than 32 (auto: 32)"
    monkeypatch.setattr("torch.cpu._is_avx512_bf16_supported", lambda: True)
    assert "bf16-mixed with avx512_bf16" in devices.precisions().value


def test_a_limit_of_the_container_is_the_memory_there_is(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "memory.max").write_text("1000000000\n")
    (tmp_path / "memory.current").write_text("400000000\n")
    monkeypatch.setattr(devices, "CGROUP", tmp_path)
    finding = devices.memory()
    assert (finding.value, finding.state) == ("600 MB free of 1 GB", "warn")
    (tmp_path / "memory.max").write_text("max\n")
    assert devices.memory().value != finding.value


def test_a_folder_that_does_not_exist_yet_has_the_space_of_its_parent(tmp_path: Path) -> None:
    finding = system.disk(tmp_path / "a" / "b")
    assert (finding.state, finding.value.endswith(" free for runs")) == ("ok", True)


def test_a_place_for_runs_that_is_a_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("x")
    finding = system.disk(tmp_path / "outputs")
    assert (finding.state, finding.mend) == ("wrong", "name another --output-dir")


@pytest.mark.faults
def test_a_read_only_disk_is_wrong_and_a_small_one_a_warning(tmp_path: Path, small_disk) -> None:
    small_disk(tmp_path, "size=8m")
    assert system.disk(tmp_path / "outputs").state == "warn"
    assert system.shared_memory(tmp_path, workers=2).state == "warn"
    assert "--num-workers 0" in str(system.shared_memory(tmp_path, workers=2).mend)
    assert system.shared_memory(tmp_path, workers=0).state == "ok"
    small_disk(tmp_path, "remount,ro")
    assert system.disk(tmp_path / "outputs").state == "wrong"


@pytest.fixture
def small_disk():
    """Mounts a file system in memory; only root may."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    mounted: set[Path] = set()

    def mount(place: Path, options: str) -> None:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False
        )
        if done.returncode:
            pytest.skip("this machine does not let a file system be mounted")
        mounted.add(place)

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


@pytest.mark.parametrize(
    ("soft", "hard", "state", "mend"),
    [
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, "ok", None),
        (1024, 4096, "ok", None),
        (256, resource.RLIM_INFINITY, "warn", "raise the limit: ulimit -n 4096"),
        (256, 512, "warn", "raise the limit: ulimit -n 512"),
    ],
)
def test_few_open_files_are_a_warning(soft, hard, state, mend) -> None:
    finding = system.open_files(soft, hard)
    assert (finding.state, finding.mend) == (state, mend)


def test_core_dumps_and_an_open_umask_are_warnings() -> None:
    assert system.core_dumps(0).state == "ok"
    assert system.core_dumps(resource.RLIM_INFINITY).state == "warn"
    before = os.umask(0o022)
    try:
        assert (system.umask().state, system.umask().mend) == ("warn", "umask 077")
        os.umask(0o077)
        assert system.umask().state == "ok"
    finally:
        os.umask(before)


def test_what_a_launcher_left_is_named_without_its_values() -> None:
    finding = system.launched({"RANK": "3", "MASTER_ADDR": "node17.example"}, LAUNCHER)
    assert finding.value == "RANK, MASTER_ADDR are set"
    assert "node17" not in str(finding)
    assert system.launched({"HOME": "/"}, LAUNCHER).state == "ok"


def test_variables_that_commands_refuse_are_wrong_one_by_one() -> None:
    assert system.variables({"SETVAE_SEED": "7"})[0].value == "1 SETVAE_* set"
    sede, lr = system.variables({"SETVAE_SEDE": "7", "SETVAE_LR": "secret"})[::-1]
    assert (sede.value, sede.state) == ("SETVAE_SEDE: unknown environment variable", "wrong")
    assert sede.mend == "did you mean SETVAE_SEED?"
    assert (lr.value, lr.mend) == ("SETVAE_LR: must be a number", "unset SETVAE_LR")
