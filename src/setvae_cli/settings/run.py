"""How batches are cut and where a run computes and writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_serializer, field_validator

from setvae_cli.settings.base import Settings
from setvae_cli.settings.prepare import GROUP_READABLE

EVERY_DEVICE = 0  # what `--devices auto` reads as, until GPUs are counted
Precision = Literal["auto", "32", "16-mixed", "bf16-mixed", "64"]


class LoaderSettings(Settings):
    """How subjects become batches."""

    batch_size: int = Field(4, ge=1, description="Subjects a micro-batch and device.")
    max_elements_per_batch: int | None = Field(
        None,
        ge=1,
        description="As many whole subjects a micro-batch and device as have so many elements "
        "together, in place of --batch-size; a larger subject is a batch of its own.",
    )
    gradient_accumulation_steps: int = Field(2, ge=1, description="Micro-batches a step.")
    max_sequence_length: int | None = Field(
        1000, ge=1, description="Elements a subject, in whole sets; `none` for no limit."
    )
    truncate: Literal["latest", "earliest", "random"] = Field(
        "latest", description="Which sets a longer subject keeps."
    )
    batching: Literal["shuffle", "length"] = Field(
        "shuffle", description="Plain shuffling, or batches of subjects of similar length."
    )
    num_workers: int | None = Field(
        None, ge=0, description="Loader processes; default: 0, as events gather faster than a step."
    )
    pin_memory: bool | None = Field(None, description="Page-locked batches; default: with CUDA.")
    use_dynamic_padding: bool = Field(
        False, description="No effect: batches are ragged.", json_schema_extra={"hidden": True}
    )


class RunSettings(Settings):
    """Where a run computes, what it writes, how often it validates."""

    output_dir: Path = Field(Path("outputs"), description="Folder of all runs.")
    name: str = Field("seqsetvae", description="Name of the run's folder below the output folder.")
    log_dir: Path | None = Field(
        None, description="Where event files and posterior_metrics go; default: the run's folder."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Seed of weights, order, noise and dropout.")
    precision: Precision = Field(
        "auto", description="auto: bf16-mixed on a GPU that has it, else 32."
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Where to train.")
    threads: int | None = Field(
        None,
        ge=1,
        description="Threads of CPU maths; default: 1 for a dim below 128, where more "
        "threads wait for one another, else all cores.",
    )
    compile_model: bool = Field(
        False,
        description="torch.compile: minutes to start, a tenth more speed at best on a CPU.",
    )
    val_check_interval: float = Field(
        1.0, gt=0, description="Validations: a share of an epoch, or batches when above 1."
    )
    limit_val_batches: float = Field(
        1.0, gt=0, le=1, description="Share of the validation split: the same seeded subset always."
    )
    detect_anomaly: bool = Field(False, description="Name the operation behind a NaN; slow.")
    save_every_minutes: float = Field(
        10.0, ge=0, description="Minutes between checkpoints beside those of validations; 0: none."
    )
    keep: int = Field(
        2, ge=1, description="Interrupted and error checkpoints that are kept, of each the newest."
    )
    save_top_k: int = Field(2, ge=1, description="Best checkpoints by validation that are kept.")
    skip_bad_batches: int = Field(
        0,
        ge=0,
        description="Steps that may be skipped because a loss or a gradient is not finite, "
        "before the run stops; each is counted and logged.",
    )
    requeue: bool = Field(
        False, description="Under SLURM: after USR1 has stopped the run, queue the job again."
    )
    group_readable: bool = Field(False, description=GROUP_READABLE)
    devices: int = Field(
        1,
        ge=0,
        description="Devices a machine, one process each: GPUs, or processes of CPU maths; auto: "
        "every GPU. Batches of all devices make one step.",
    )
    num_nodes: int = Field(
        1, ge=1, description="Machines; above 1, torchrun or srun starts the processes."
    )
    strategy: Literal["auto", "ddp", "fsdp"] = Field(
        "auto", description="How devices work together: ddp, whole models side by side."
    )

    @field_validator("devices", mode="before")
    @classmethod
    def _number_or_auto(cls, given: Any) -> Any:
        if given == "auto":
            return EVERY_DEVICE
        if str(given).lstrip("-").isdecimal() and int(given) < 1:
            raise ValueError("must be at least 1, or auto")
        return given

    @field_serializer("devices")
    def _auto_again(self, devices: int) -> int | str:
        return "auto" if devices == EVERY_DEVICE else devices

    @field_validator("strategy")
    @classmethod
    def _no_sharding(cls, strategy: str) -> str:
        if strategy == "fsdp":
            raise ValueError(
                "fsdp would shard the weights, and every validation needs their average whole; "
                "use ddp"
            )
        return strategy

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not name or name.startswith(".") or any(c in name for c in "/\\\0\n"):
            raise ValueError("name must be one folder name")
        return name
