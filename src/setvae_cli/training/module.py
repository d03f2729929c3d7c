"""What Lightning runs: the loss of a micro-batch, an optimizer step, what a checkpoint holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from setvae_cli.data.batch import SetBatch
from setvae_cli.encoders.classifier import Model, vae_of
from setvae_cli.errors import NumericalError, RunError
from setvae_cli.evaluation.sweep import Sweep, placed
from setvae_cli.losses.objective import further_names, loss_terms, total, weights_at
from setvae_cli.monitor.metrics import Metrics
from setvae_cli.monitor.record import scalars as monitor_scalars
from setvae_cli.nn.seq_set_vae import SeqSetVAE
from setvae_cli.runs.checkpoint import HEADER, STATE, Header
from setvae_cli.settings.command import FinetuneSettings, TrainSettings
from setvae_cli.training.averaging import averaged_copy, follow, statistics, update_average
from setvae_cli.training.collapse import CollapseWatch, actions_of, asleep
from setvae_cli.training.finite import FiniteWatch
from setvae_cli.training.followers import SilentLog
from setvae_cli.training.look_log import log_look
from setvae_cli.training.measured import Measured
from setvae_cli.training.optimizer import build_optimizer, set_decay, set_rate
from setvae_cli.training.position import Position
from setvae_cli.training.ranks import gather
from setvae_cli.training.records import Checked
from setvae_cli.training.scalars import ScalarLog
from setvae_cli.training.schedules import dropout_seed
from setvae_cli.training.tuning import Tuning
from setvae_cli.training.window import Window

LOG_EVERY = 10


class SetVAEModule(pl.LightningModule):
    """A model in training beside the average of its weights.

    Everything a step needs is a function of (seed, epoch, batch, step): nothing is remembered that
    a checkpoint would not hold.

    Args:
        model: What is trained.
        settings: Objective, optimizer, seed, accumulation.
        header: What checkpoints say about themselves; knows planned steps and tasks.
        log: Where scalars go.
        epochs: Epochs that are planned.
        fused: Whether AdamW may use its fused kernel.
    """

    def __init__(
        self,
        model: Model,
        settings: TrainSettings,
        header: Header,
        log: ScalarLog | SilentLog,
        *,
        epochs: int,
        fused: bool = True,
    ) -> None:
        super().__init__()
        self._epochs = epochs
        self.model = model
        self.averaged = averaged_copy(model) if settings.optimizer.weight_averaging else None
        # Walking the tree of modules for them costs more than what a step does with them.
        self._weights = list(model.parameters())
        self._average = [] if self.averaged is None else list(self.averaged.parameters())
        self._statistics = statistics(self.averaged, model)
        self.settings, self.header, self.scalar_log = settings, header, log
        with_elbo = settings.objective.has("elbo")
        self.window = Window(
            further_names(settings.objective),
            elbo=with_elbo,
            only_predicts=settings.objective.only_predicts,
        )
        self.measured = Measured({}, {})
        self._fused = fused
        self._norm: Tensor | None = None
        self._good_step = True
        self.finite = FiniteWatch(settings.run.skip_bad_batches)
        off = settings.monitor.disable_metrics_monitoring or not with_elbo
        watched = model if isinstance(model, SeqSetVAE) and not off else None
        self.watch = None if watched is None else CollapseWatch(settings, header, watched)
        self._asleep: dict[str, Any] | None = None  # what a watch left that is off now
        self._objective = settings.objective
        self.tuning = (
            Tuning(model, settings, header) if isinstance(settings, FinetuneSettings) else None
        )
        self.updating = False  # whether a step, or what belongs to it, is half done
        self.position = Position(0, 0)
        self.validated_step = -1
        self.recent_loss: float | None = None

    @property
    def evaluated(self) -> Model:
        """The weights that count: the average, where one is kept."""
        return self.model if self.averaged is None else self.averaged

    def transfer_batch_to_device(
        self, batch: SetBatch, device: torch.device, dataloader_idx: int
    ) -> SetBatch:
        """Move a batch; on a CPU it is there already."""
        return placed(batch, self.model)

    def on_train_batch_start(self, batch: SetBatch, batch_idx: int) -> None:
        """Dropout of a micro-batch depends on who it is and not on what ran before it."""
        seed = self.settings.run.seed
        plan = batch.plan
        _seed_dropout(dropout_seed(seed, plan.epoch, plan.batch, self.global_rank), self.device)
        if self.tuning is not None:
            self.tuning.begin_batch(self.global_step, self.current_epoch)

    def training_step(self, batch: SetBatch, batch_idx: int) -> Tensor:
        """This micro-batch's share of the step's loss."""
        settings, step = self.settings, self.global_step
        objective = self._objective if self.watch is None else self.watch.objective
        weights = weights_at(step, self.header.warm_up_steps, objective)
        seed = settings.run.seed
        # Without a KL term there is nothing that latent noise would be for.
        output = self.model(batch, noise_seed=seed if objective.has("elbo") else None)
        terms = loss_terms(
            self.model,
            output,
            batch,
            objective,
            classes=self.header.classes,
            noise_seed=seed,
            class_weights=self.header.class_weights,
        )
        if self.tuning is not None:
            self.tuning.see(output.logits, batch)
        if self.watch is not None:
            self.watch.see(vae_of(self.model), batch, output, step)
        loss = total(terms, weights, batch, self.header.sets_per_subject)
        self.finite.see(loss.detach(), batch.rows)
        self.window.add(loss, terms, weights, batch.label_mask.sum())
        # Shares of a step add up already; Lightning divides by the count of micro-batches, and
        # DDP by that of ranks.
        scale = self.trainer.accumulate_grad_batches * self.trainer.world_size
        if self.trainer.world_size == 1:
            return loss * scale
        # A loss that is not finite makes gradients so: every rank sees it in their sum.
        return loss * (scale + 0.0 * loss.detach())

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of the whole step's gradient, and keep it; drop a gradient that is bad."""
        limit = self.settings.optimizer.gradient_clip_val or math.inf
        self._norm = torch.nn.utils.clip_grad_norm_(self._weights, limit)
        # A gradient scaler meets infinities by design, and skips their step.
        judged = self._norm if self._fused else None
        self._good_step = self.finite.judge(judged, self.global_step + 1)
        if not self._good_step:
            for weight in self._weights:
                weight.grad = None  # the optimizer passes over a weight without one
        self.updating = True  # until the boundary behind this step

    def optimizer_step(
        self,
        epoch: int,
        batch_idx: int,
        optimizer: Any,
        optimizer_closure: Callable[[], Any] | None = None,
    ) -> None:
        """One step at the rate its number asks for; then the average follows."""
        step, settings = self.global_step, self.settings.optimizer
        rate = set_rate(
            optimizer,
            settings,
            step=step,
            planned=self.header.planned_steps,
            first_planned=self.header.warm_up_steps,
            lowered=1.0 if self.tuning is None else self.tuning.lowered,
        )
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        if self.tuning is not None:
            self.tuning.end_step(good=self._good_step)
        if self.watch is not None:
            self.watch.end_step(good=self._good_step)
        if self._good_step:
            self._end_step(step + 1)
        else:
            self.window.skip_step()
            self.scalar_log.write(
                step + 1, self.current_epoch + 1, {"skipped_steps": self.finite.skipped}
            )
        if (step + 1) % LOG_EVERY == 0:
            self._log_window(step + 1, rate)

    def _end_step(self, step: int) -> None:
        if self.averaged is not None:
            decay = self.settings.optimizer.weight_averaging
            update_average(self._average, self._weights, step=step, decay=decay)
            follow(self._statistics)
        self.window.end_step(self._norm)

    def _log_window(self, step: int, rate: float) -> None:
        self.check_finite()
        means = {f"train_{name}_step": value for name, value in self.window.take().items()}
        if means:
            self.recent_loss = means.get("train_loss_step", self.recent_loss)
            means |= {} if self.tuning is None else self.tuning.take("step")
            plan = {"planned_steps": self.header.planned_steps, "planned_epochs": self._epochs}
            self.scalar_log.write(step, self.current_epoch + 1, {**means, "lr": rate}, plan)

    def log_epoch(self) -> None:
        """Log the means of an epoch that is done."""
        self.check_finite()
        means = {f"train_{name}_epoch": value for name, value in self.window.take_epoch().items()}
        if self.tuning is not None:
            means |= self.tuning.take("epoch")
            self.tuning.end_epoch(means)
        self.scalar_log.write(self.global_step, self.current_epoch + 1, means)

    def look(self, *, validates: bool) -> Checked | None:
        """Behind a step: look at what training batches showed of the posteriors, if it is time.

        Raises:
            NumericalError: A loss so far was not finite, so that nothing is to be seen.
        """
        if self.watch is None:
            return None
        step, epoch = self.global_step, self.position.epochs_begun
        found = self.watch.look(step, epoch, picture=not validates)
        if found is not None:
            self.check_finite()
            self.scalar_log.write(step, epoch, monitor_scalars(found.measures, "train"))
            log_look(self.scalar_log, found)
        return found

    def validation_begins(self, subjects: int) -> Sweep:
        """A pass over so many subjects of validation with the weights that count."""
        self.check_finite()
        model = self.evaluated.eval()
        metrics = None if self.watch is None else self.watch.metrics(vae_of(model), subjects)
        header = self.header
        return Sweep(model, self.settings.objective, header.classes, metrics, header.class_weights)

    def validation_ends(self, collected: Sweep, epoch: int) -> Checked | None:
        """Measure the pass and log it under an epoch, counted from 1.

        Returns:
            What it showed of the posteriors; None where nobody watches them.

        Raises:
            NumericalError: The validation loss is not finite.
            RunError: Nothing that the loss sums was there.
        """
        self.model.train()
        weights = weights_at(
            self.global_step,
            self.header.planned_steps,
            self.settings.objective,
            evaluating=True,
        )
        swept = collected.finish(weights, self.header.sets_per_subject, gather)
        if "loss" not in swept.scalars:
            raise RunError(
                "validation holds nothing that the loss is a sum of",
                mend="give it more subjects, or add a part to --objective",
            )
        self.measured = Measured.of(swept, self.header.tasks, self.header.classes)
        if self.tuning is not None:
            self.measured = self.tuning.validated(self.measured, swept)
        if not math.isfinite(self.measured.scalars["val_loss"]):
            raise NumericalError(
                f"the validation loss is not finite at step {self.global_step}",
                mend="lower --lr, or look at the preparation of the data",
            )
        self.validated_step = self.global_step
        found = self._judge(collected.metrics, epoch)
        monitored = monitor_scalars(found.measures, "val") if found else {}
        self.scalar_log.write(self.global_step, epoch, {**self.measured.scalars, **monitored})
        for tag, reason in self.measured.absent.items():
            self.scalar_log.note(self.global_step, epoch, {f"{tag}_absent": reason})
        if found is not None:
            log_look(self.scalar_log, found)
        return found

    def _judge(self, metrics: Metrics | None, epoch: int) -> Checked | None:
        if self.watch is None or metrics is None:
            return None
        return self.watch.validated(metrics, self.global_step, epoch)

    def check_finite(self) -> None:
        """Read what was watched.

        Raises:
            NumericalError: A loss or a gradient so far was not finite.
        """
        self.finite.check()

    def continue_optimizer(self) -> None:
        """Let settings of now hold for an optimizer whose state a checkpoint brought."""
        for optimizer in self.trainer.optimizers:
            set_decay(optimizer, self.settings.optimizer)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam; its rate is set before each step and has no state of its own."""
        slow = None if self.tuning is None else self.tuning.slow
        return build_optimizer(self.model, self.settings.optimizer, fused=self._fused, slow=slow)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Put our header on it, and what else a run goes on with."""
        self.check_finite()
        logs = self.scalar_log.state(self.global_step)
        header = self.header.model_copy(
            update={
                "measured": self.measured.scalars,
                "next_epoch": self.position.epoch,
                "next_batch": self.position.batch,
                "validated_step": self.validated_step,
            }
        )
        checkpoint[HEADER] = header.model_dump(mode="json")
        checkpoint[STATE] = {
            "window": self.window.state(),
            "logs": asdict(logs),
            "skipped": self.finite.skipped,
            "batches": int(self.trainer.num_training_batches),
            "watch": self._asleep if self.watch is None else self.watch.state(),
            "tuning": None if self.tuning is None else self.tuning.state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Go on with it; its header said what this module was built with."""
        header = Header.model_validate(checkpoint[HEADER])
        self.window.load(checkpoint[STATE]["window"])
        self.finite.skipped = int(checkpoint[STATE]["skipped"])
        self.measured = Measured(header.measured, {})
        self._load_watch(checkpoint[STATE].get("watch"))
        if self.tuning is not None:
            self.tuning.load(checkpoint[STATE]["tuning"])
        self.position = Position(header.next_epoch or 0, header.next_batch or 0)
        self.validated_step = header.validated_step

    def _load_watch(self, state: Mapping[str, Any] | None) -> None:
        if state is None:
            return
        if self.watch is not None:
            self.watch.load(state)
            return
        given, kind = self.settings.objective, self.settings.monitor.on_collapse
        self._asleep = asleep(state, given, kind)
        self._objective = actions_of(state, given, kind).objective(given)


def _seed_dropout(seed: int, device: torch.device) -> None:
    """Seed the generator that dropout draws from on this device, and only that one.

    torch.manual_seed also queues a call with its stack for every accelerator not yet in use.
    """
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)
    else:
        torch.default_generator.manual_seed(seed)
