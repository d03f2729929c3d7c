"""What a look at the latents of a trained model finds, as arrays that reports draw from.

Everything is counted by row number of `rows.parquet`: no id, and no value but those of `series`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from setvae_cli.monitor.measures import Measures

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class LevelLatents:
    """Posteriors and priors of one level, each array [sets, latent].

    Attributes:
        mean, variance: Of the posterior.
        prior_mean, prior_variance: Of the prior.
        kl: Raw KL of each dimension, nats.
    """

    mean: Floats
    variance: Floats
    prior_mean: Floats
    prior_variance: Floats
    kl: Floats


@dataclass(frozen=True)
class SetLatents:
    """The sets that were kept, subjects in the order of their rows and their sets in time order.

    Attributes:
        row: [sets] int64, row number of the set's subject.
        place: [sets] int32, number of the set among those of its subject that the model saw, from
            0: with a limit on elements these are the latest ones.
        hours: [sets] since the subject's first set; NaN for voxels, which have no time.
        size: [sets] int32, elements.
        recon: [sets] reconstruction, nats (distances with the chamfer decoder).
        levels: Lowest first.
        history: [sets, dim] h_t.
    """

    row: NDArray[np.int64]
    place: NDArray[np.int32]
    hours: Floats
    size: NDArray[np.int32]
    recon: Floats
    levels: tuple[LevelLatents, ...]
    history: Floats


@dataclass(frozen=True)
class SubjectLatents:
    """Subjects in the order of their rows.

    Attributes:
        row: [subjects] int64, ascending.
        label: [subjects] int64, class of the first task; -1 where missing.
        risk: [subjects] predicted probability of class 1, with several classes of the most
            probable one; NaN without tasks.
        severity: [subjects] see `severity_name`; NaN where unknown.
        severity_name: What severity is, such as "SOFA", "true severity", "predicted risk".
        embedding: [subjects, size].
    """

    row: NDArray[np.int64]
    label: NDArray[np.int64]
    risk: Floats
    severity: Floats
    severity_name: str
    embedding: Floats


@dataclass(frozen=True)
class VariableErrors:
    """How well values are reconstructed, a code with values of ten subjects an entry.

    The most frequent code stands first.

    Attributes:
        code: Names.
        count: [codes] int64, occurrences with a value.
        error: [codes] float64, mean absolute error of the predicted mean, in standard deviations
            of the training split; of binary and category codes the mean probability that was given
            to other classes than the true one.
        nats: [codes] float64, mean negative log density of the value.
        reason: Why there are none; empty where there are.
        kind: Of each code: only errors of numeric ones are standard deviations.
    """

    code: list[str]
    count: NDArray[np.int64]
    error: NDArray[np.float64]
    nats: NDArray[np.float64]
    reason: str = ""
    kind: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class CodeSeries:
    """One code of one subject in time order, in the source's unit or, as its series says, z-scores.

    Values are clipped to the outer training quantiles, as the model sees them.

    Attributes:
        code: Its name.
        hours: [points] since the subject's first set.
        observed, predicted: [points].
        low, high: [points] 95 % band of the decoder's density.
    """

    code: str
    hours: Floats
    observed: Floats
    predicted: Floats
    low: Floats
    high: Floats


@dataclass(frozen=True)
class SubjectSeries:
    """The most frequent numeric codes of one subject, up to 6, in the source's unit.

    Attributes:
        row: Row number.
        label: Class of the first task; -1 where missing.
        series: Most frequent first.
    """

    row: int
    label: int
    series: tuple[CodeSeries, ...]


@dataclass(frozen=True)
class Latents:
    """One look at a trained model over a split.

    Attributes:
        sets, subjects, errors, series: What was found.
        measures: Thorough, of the same pass.
        task: Name of the first task; empty without.
        split: Which split.
        subjects_in_split: How many it has; more than `subjects` holds where the pass was cut.
        run, checkpoint: Names for a footer.
        step: Optimizer steps of the checkpoint.
        begun: Date of the run, YYYY-MM-DD; empty where unknown.
        shows_values: Whether series, which show values of subjects, were asked for.
        sets_seen: Sets of the pass, of which `sets` holds all or a uniform sample.
        mean_recon: Mean reconstruction of all of them; NaN where unknown.
        recon_unit: "nats", or "distance" with the chamfer decoder.
        keeps_elbo: Whether the model was trained with an elbo; without one nothing held its
            posteriors near the prior, and verdicts would mean nothing.
    """

    sets: SetLatents
    subjects: SubjectLatents
    errors: VariableErrors
    series: tuple[SubjectSeries, ...]
    measures: Measures
    task: str
    split: str
    subjects_in_split: int
    run: str
    checkpoint: str
    step: int
    begun: str
    shows_values: bool = True
    sets_seen: int = 0
    mean_recon: float = math.nan
    recon_unit: str = "nats"
    keeps_elbo: bool = True
