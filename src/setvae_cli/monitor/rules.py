"""What each state and each note means, in one check: pure, without memory.

States and notes:

    collapsed | shrinking | partial | healthy       the first that holds, after K checks in a row
    spare capacity, over-sharp, shifted             notes beside any state
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from setvae_cli.monitor.check import LevelCheck

State = Literal["warming", "collapsed", "shrinking", "partial", "healthy"]
NoteName = Literal["spare capacity", "over-sharp", "shifted"]
PRECEDENCE: tuple[State, ...] = ("collapsed", "shrinking", "partial", "healthy")
NOTES: tuple[NoteName, ...] = ("spare capacity", "over-sharp", "shifted")

CHECKS_IN_A_ROW = 3
SETS_A_DIMENSION = 10
COLLAPSED_ACTIVE, COLLAPSED_NATS = 0.02, 0.1
SHRUNK, SHRUNK_UNITS = 0.2, 2
PARTIAL_PEAK, PARTIAL_NATS = 0.5, 0.5
FEW_ACTIVE = 0.5
OVER_SHARP_SHARE = 0.1
SHIFTED_KL, SHIFTED_A_DIMENSION = 1.0, 0.1

TRY: dict[State | NoteName, str] = {
    "warming": "",
    "collapsed": "lower --max-beta, or --beta-schedule cyclical, or --free-bits 0.25",
    "shrinking": "a longer --beta-warmup, or lower --max-beta",
    "partial": "lower --max-beta, or --free-bits 0.1, or a stronger decoder signal: --bottleneck",
    "healthy": "",
    "spare capacity": "a smaller --latent-dim would do",
    "over-sharp": "a higher --max-beta, or a higher --logvar-min",
    "shifted": "a higher --max-beta before sampling from the prior",
}


def enough_sets(check: LevelCheck) -> bool:
    """Whether a level was seen often enough to be judged."""
    return check.sets >= SETS_A_DIMENSION * check.latent


def too_few_sets(check: LevelCheck) -> str:
    """Why a level is not judged, in words."""
    return f"{check.sets} sets are too few to judge {check.latent} latent numbers by"


def collapsed(check: LevelCheck) -> str | None:
    """The rule in words if nothing of the latents is in use; else None."""
    if check.active >= COLLAPSED_ACTIVE * check.latent or check.decoder_silent is False:
        return None
    if check.information is None or check.information >= COLLAPSED_NATS:
        return None
    gap = "decoder gap about 0" if check.decoder_silent else "decoder gap not measured"
    return f"active < {100 * COLLAPSED_ACTIVE:.0f} %, information < {COLLAPSED_NATS} nat, {gap}"


def shrinking(check: LevelCheck, window: Sequence[int]) -> str | None:
    """The rule in words if active units fell over a window of earlier counts; else None."""
    if not window:
        return None
    lost = window[0] - check.active
    if lost < SHRUNK_UNITS or lost < SHRUNK * window[0]:
        return None
    share = f"{100 * lost / window[0]:.0f} % (limit {100 * SHRUNK:.0f} %)"
    return f"active units down {share} over {len(window)} checks"


def partial(check: LevelCheck, peak: int) -> str | None:
    """The rule in words if a part of the latents is out of use; else None."""
    if check.active < PARTIAL_PEAK * peak:
        return f"active under half of this run's peak of {peak}"
    if check.information is not None and check.information < PARTIAL_NATS:
        return f"information < {PARTIAL_NATS} nat"
    if check.decoder_silent:
        return "decoder gap about 0: latents say something that the decoder does not use"
    return None


def state_rules(check: LevelCheck, window: Sequence[int], peak: int) -> dict[State, str]:
    """The states whose rules hold, with the rule in words; healthy where no other does."""
    found: dict[State, str | None] = {
        "collapsed": collapsed(check),
        "shrinking": shrinking(check, window),
        "partial": partial(check, peak),
    }
    holding = {state: rule for state, rule in found.items() if rule is not None}
    return holding or {"healthy": "no other rule holds"}


def note_rules(check: LevelCheck, peak: int) -> dict[NoteName, str]:
    """The notes whose rules hold, with the rule in words."""
    found: dict[NoteName, str] = {}
    informed = check.information is not None and check.information >= PARTIAL_NATS
    if peak < FEW_ACTIVE * check.latent and informed and check.decoder_silent is False:
        found["spare capacity"] = (
            f"at most {peak} / {check.latent} active since the start, and they are used"
        )
    if check.over_sharp > OVER_SHARP_SHARE * check.latent:
        found["over-sharp"] = (
            f"{check.over_sharp} / {check.latent} dimensions with variance < 1e-4 of the prior's"
        )
    distance = check.gaussian_kl
    if distance is not None and distance > max(SHIFTED_KL, SHIFTED_A_DIMENSION * check.latent):
        found["shifted"] = f"aggregate posterior {distance:.1f} nats from the prior"
    elif check.information is not None and not informed and check.kl > SHIFTED_KL:
        found["shifted"] = f"KL {check.kl:.1f} nats, information <= {check.information:.2f} nat"
    return found


def figures(check: LevelCheck) -> str:
    """The figures behind a verdict, one clause."""
    said = [f"active {check.active} / {check.latent}", f"KL {check.kl:.2f} nats"]
    if check.information is not None:
        said.append(f"information <= {max(check.information, 0):.2f} nat")
    if check.decoder_gap is not None:
        said.append(f"decoder gap {check.decoder_gap:.2f}")
    return ", ".join(said)
