"""Event files as the original's training left them: one scalar a record, KL times beta."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

FIRST_WALL = 1_755_000_000.0
LATENTS, FREE_BITS, MAX_BETA, WARM_UP = 256, 0.1, 0.1, 200

Point = tuple[int, Mapping[str, float]]


def write_events(
    folder: Path,
    points: Iterable[Point],
    *,
    began: float = FIRST_WALL,
    number: int = 0,
    start_step: int | None = None,
) -> Path:
    """Write a file of scalars, a record each.

    Args:
        folder: Where it goes.
        points: Step, and tag to value.
        began: Time of the first record, seconds since 1970; each step takes a tenth.
        number: Tells files of one folder apart.
        start_step: Of a resumption that says where it begins.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"events.out.tfevents.{int(began)}.node17.{number}"
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        writer.write(Event(wall_time=began, file_version="brain.Event:2").SerializeToString())
        if start_step is not None:
            start = SessionLog(status=SessionLog.START)
            event = Event(wall_time=began, step=start_step, session_log=start)
            writer.write(event.SerializeToString())
        for step, scalars in points:
            for tag, value in scalars.items():
                held = Summary(value=[Summary.Value(tag=tag, simple_value=value)])
                event = Event(wall_time=began + step / 10, step=step, summary=held)
                writer.write(event.SerializeToString())
    return path


def beta(step: int) -> float:
    """The original's linear warm-up."""
    return MAX_BETA * min(1.0, step / WARM_UP)


def original(
    steps: int = 1000, *, kl: float | None = None, wobble: float = 0.0, auc: str = "val_auc"
) -> list[Point]:
    """A run of the original: steps every 10, epochs every 100, validations with them.

    Args:
        steps: Optimizer steps.
        kl: Nats a set without weight; None: it lies on the floor of free bits.
        wobble: Share by which that rises and falls from step to step.
        auc: What it called the AUROC of validation.
    """
    middle = FREE_BITS * LATENTS if kl is None else kl
    points: list[Point] = [(0, {"hp_metric": -1.0})]
    for step in range(10, steps + 1, 10):
        raw = middle * (1 + wobble * (step // 10 % 3 - 1))
        loss = 5 + 20 / (1 + step / 50)
        scalars = {
            "epoch": float((step - 1) // 100),
            "train_loss_step": loss + 0.1 * (step // 10 % 3),
            "train_recon_step": loss - 1,
            "train_kl_step": raw * beta(step),
            "train_beta_step": beta(step),
            "train_pred_step": 1 / (1 + step / 100),
        }
        if step % 100 == 0:
            scalars |= {
                "train_loss_epoch": loss,
                "val_loss": loss + 0.5,
                "val_recon": loss - 0.5,
                "val_kl": raw * beta(step),
                "val_beta": beta(step),
                "val_pred": 1.2 / (1 + step / 100),
                auc: 0.9 - 0.4 / (1 + step / 100),
                "val_auprc": 0.6 - 0.4 / (1 + step / 100),
                "val_accuracy": 0.85,
            }
        points.append((step, scalars))
    return points


def records(path: Path) -> list[tuple[int, int]]:
    """Where each record of a file begins and ends."""
    data, place, found = path.read_bytes(), 0, []
    while place < len(data):
        end = place + 16 + struct.unpack_from("<Q", data, place)[0]
        found.append((place, end))
        place = end
    return found
