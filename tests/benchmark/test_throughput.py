"""The throughput benchmark: what its records hold, how versions take turns, how it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tests.training.stores import write_store

from setvae_cli.benchmark.clock import Version, Visit, interleave, turns
from setvae_cli.benchmark.contenders import Contender, Where, Workload, settings_of
from setvae_cli.benchmark.flops import FORMULA
from setvae_cli.benchmark.memory import added_memory_bytes, private_memory_bytes
from setvae_cli.benchmark.one_by_one import OneByOneStep
from setvae_cli.benchmark.step import TrainingStep
from setvae_cli.benchmark.throughput import main
from setvae_cli.benchmark.throughput_record import ThroughputRecord, table
from setvae_cli.store.reader import Store

QUICK = ["--presets", "tiny", "--batches", "1,2", "--rounds", "1", "--seconds", "1"]
PROMISED = {
    "preset", "batch", "elements_per_s", "spread", "relative_speed", "peak_memory_mb",
    "matmul_gflops", "share_of_peak", "reference_elements_per_s", "speedup", "threads", "torch",
    "device", "sets", "elements", "padded_share",
}  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return write_store(tmp_path_factory.mktemp("throughput"))


@pytest.fixture(scope="module")
def tiny(store: Store) -> Contender:
    return Contender("tiny", store, Where(device="cpu"))


def test_json_gives_a_record_a_batch_size_with_every_field(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "--device", "cpu", "--data", str(store.path), "--json"]) == 0
    printed = capsys.readouterr()
    records = json.loads(printed.out)
    assert [record["batch"] for record in records] == [1, 2]
    for record in records:
        assert record.keys() >= PROMISED
        assert (record["preset"], record["device"], record["precision"]) == ("tiny", "cpu", "32")
        assert record["share_of_peak"] == pytest.approx(record["gflops"] / record["matmul_gflops"])
        assert record["speedup"] == pytest.approx(
            record["elements_per_s"] / record["reference_elements_per_s"]
        )
        assert record["torch"] == torch.__version__
    assert records[0]["relative_speed"] == 1
    assert " ".join(FORMULA.split()) in " ".join(printed.err.split())


def test_the_table_fits_a_terminal_and_is_all_that_stdout_gets(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*QUICK, "--device", "cpu", "--data", str(store.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("tiny: ")
    assert max(map(len, lines)) <= 80


def test_the_widest_table_fits_a_terminal() -> None:
    lines = table([widest(compiled) for compiled in (False, True)])
    assert max(map(len, lines)) <= 80


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--presets", "huge"], "argument --presets: unknown preset 'huge', expected some of tiny"),
        (["--batches", "0"], "argument --batches: expected a whole number from 1 on, got '0'"),
        (["--batches", "1,x"], "argument --batches: expected a whole number from 1 on, got 'x'"),
        (["--rounds", "0"], "argument --rounds: expected a whole number from 1 on"),
        (["--seconds", "-1"], "argument --seconds: expected seconds above 0, got '-1'"),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu'"),
        (["--data", "nowhere"], "nowhere: "),
        (["--batch", "3"], "unrecognized arguments: --batch 3"),
        (["--batches", "64"], "the training split has 21 subjects, and a batch of 64"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(
    arguments: list[str],
    says: str,
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [*QUICK, "--data", str(store.path), *arguments]
    assert main(given) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    last = printed.err.splitlines()[-1]
    assert last.startswith("python -m setvae_cli.benchmark.throughput: error: ")
    assert says in last


def test_batches_of_any_size_hold_the_same_subjects(tiny: Contender) -> None:
    rows = [
        torch.cat([batch.rows for batch in tiny.batches(size, 8)]).tolist() for size in (1, 2, 4, 8)
    ]
    assert rows[0] == rows[1] == rows[2] == rows[3]


def test_a_step_moves_the_weights_and_counts_its_own_batch(tiny: Contender) -> None:
    batches = tiny.batches(2, 8)
    workload = Workload(tiny, batches)
    before = [weight.clone() for weight in tiny.model.parameters()]
    elements, flops = workload.once()
    assert elements == batches[0].plan.elements
    assert flops > 0
    moved = [not torch.equal(a, b) for a, b in zip(before, tiny.model.parameters(), strict=True)]
    assert any(moved)


def test_the_reference_takes_the_same_step_where_nothing_is_drawn(store: Store) -> None:
    """Without dropout and noise both forward passes give the same terms."""
    contender = Contender("tiny", store, Where(device="cpu", precision="64"))
    step = OneByOneStep(
        contender.untrained(),
        contender.settings,
        classes=contender.tasks.classes,
        sets_per_subject=contender.sets_per_subject,
    )
    step.model.eval()
    batch = contender.batches(2, 8)[0]
    packed, one_by_one = TrainingStep.terms(step, batch), step.terms(batch)
    for name in ("recon", "kl", "pred"):
        torch.testing.assert_close(
            getattr(packed, name), getattr(one_by_one, name), rtol=1e-8, atol=0
        )


def test_a_warning_of_every_model_is_said_once(
    store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    slow = ["--precision", "bf16-mixed", "--device", "cpu", "--batches", "2", "--json"]
    assert main([*QUICK, "--data", str(store.path), *slow]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out)[0]["precision"] == "bf16-mixed"
    assert printed.err.count("warning: precision bf16-mixed is slower") == 1


def test_contenders_differ_in_what_their_names_say() -> None:
    base, wide = (settings_of(name, Where()).model for name in ("base", "base-256"))
    original, full = (settings_of(name, Where()).model for name in ("original", "original-full"))
    assert (wide.dim, wide.latent_dim, wide.ff_dim, wide.heads) == (
        original.dim, original.latent_dim, original.ff_dim, original.heads
    )  # fmt: skip
    assert (wide.set_encoder, wide.decoder) == (base.set_encoder, base.decoder)
    assert full == original.model_copy(update={"set_attention": "full"})


def test_versions_take_turns_and_slow_ones_sit_out_evenly() -> None:
    order: list[str] = []

    def version(name: str, expected: float) -> Version:
        def visit() -> Visit:
            order.append(name)
            return Visit(1, 1, 1.0)

        return Version(name, visit, expected, 30.0)

    versions = [version("a", 1.0), version("b", 10.0), version("c", 5.0)]
    visits = interleave(versions, 6, 60.0, say=lambda name, done, total: None)
    assert [len(own) for own in visits] == [turns(one, 6) for one in versions] == [6, 3, 6]
    assert "".join(order) == "abcacabcacabcac"


def test_when_the_time_is_over_every_version_has_had_one_turn() -> None:
    versions = [Version(str(i), lambda: Visit(1, 1, 1.0), 1.0, 10.0) for i in range(3)]
    visits = interleave(versions, 5, 0.0, say=lambda name, done, total: None)
    assert [len(own) for own in visits] == [1, 1, 1]


def test_added_memory_is_that_of_what_is_made() -> None:
    added = added_memory_bytes(lambda: torch.ones(30_000_000).sum(), "cpu")
    if added is None:
        pytest.skip("this platform does not tell")
    assert 110e6 < added < 160e6
    assert private_memory_bytes() > 0


def widest(compiled: bool) -> ThroughputRecord:
    return ThroughputRecord(
        preset="original-full",
        compiled=compiled,
        batch=64,
        elements_per_s=12_345_678.0,
        spread=1.234,
        rounds=7,
        relative_speed=123.45,
        peak_memory_mb=12_345.6,
        matmul_gflops=50_000.0,
        gflops=20_000.0,
        share_of_peak=0.456,
        reference_elements_per_s=1000.0,
        speedup=12_345.6,
        padded_share=0.5,
        sets=4_000.0,
        elements=30_000.0,
        mflop_per_element=13.2,
        parameters=4_104_193,
        threads=2,
        peak_threads=2,
        reference_threads=1,
        device="cpu",
        precision="32",
        torch="2.0",
    )
