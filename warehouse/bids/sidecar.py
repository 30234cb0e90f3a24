"""Make the JSON sidecar of an image, with the names and units of BIDS.

In: the fields that hold for a whole series, and the piece. Out: a mapping in the order of writing,
the repetition time among them that stands in the NIfTI file too, and what was left out and why.
"""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from warehouse.bids.refused import Refused
from warehouse.cohorts.runs import package_version

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.bids.split import Piece

_RANGES: dict[str, tuple[float, float]] = {
    "EchoTime": (0, 10),
    "InversionTime": (0, 100),
    "RepetitionTime": (0, 100),
    "FlipAngle": (0, 360),
    "MagneticFieldStrength": (0, 30),
    "TotalReadoutTime": (0, 10),
    "EffectiveEchoSpacing": (0, 1),
    "DwellTime": (0, 1),
    "ParallelReductionFactorInPlane": (0, 100),
    "SliceThickness": (0, 1000),
}
"""Above the first, and not above the second: what BIDS allows, and what can be. A header that
states 0 or an absurd number states none."""
_DIGITS = 9
"""Significant digits of numbers: 2435.37 ms are 2.43537 s, not 2.4353700000000003."""
_JITTER_S = 0.02
"""By which the times of volumes may be off a regular step: clocks of headers count 2.5 ms …"""
_JITTER = 0.02
"""… or by this part of it."""
_OTHER_TIME = 0.05
"""Part of it by which a repetition time may differ from the step between volumes."""


def sidecar(
    fields: dict[str, Any], piece: Piece, suffix: str, task: str | None,
    times: Sequence[float] | None,
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    """Return the sidecar of an image, and what was left out of it.

    Parameters
    ----------
    fields
        What ``sql/bids/sidecars.sql`` says of the series.
    piece
        The image, with what tells it from others of its series.
    suffix, task
        As in its name.
    times
        Seconds from the first volume of the series to each of the file, if they are stated.

    Raises
    ------
    Refused
        BIDS asks for what is not stated.
    """
    made = {name: value for name, value in fields.items() if value not in (None, "", [])}
    values = piece.values
    if "echo" in values:
        made["EchoTime"] = values["echo"] / 1000
    if "inv" in values:
        made["InversionTime"] = values["inv"] / 1000
    if "flip" in values:
        made["FlipAngle"] = values["flip"]
    left_out = []
    for name, (low, high) in _RANGES.items():
        if name in made and not low < made[name] <= high:
            left_out.append(f"{name}: {made.pop(name):g} is not possible")
    if suffix == "bold":
        made["TaskName"] = task
        left_out += _timed(made, times)
        if "RepetitionTime" not in made:
            raise Refused("BIDS asks for RepetitionTime of a bold, which is not stated")
    if suffix in {"phase1", "phase2"} and "EchoTime" not in made:
        raise Refused("BIDS asks for EchoTime of a phase image, which is not stated")
    if suffix == "epi" and "PhaseEncodingDirection" not in made:
        raise Refused("BIDS asks for PhaseEncodingDirection of an epi, which is not stated")
    if suffix == "epi" and not {"TotalReadoutTime", "EffectiveEchoSpacing"} & made.keys():
        raise Refused("BIDS asks for TotalReadoutTime of an epi, which is not stated")
    if made.get("ParallelReductionFactorInPlane", 2) < 1:
        left_out.append("ParallelReductionFactorInPlane: less than 1")
        del made["ParallelReductionFactorInPlane"]
    made["ConversionSoftware"] = "dicom-warehouse"
    made["ConversionSoftwareVersion"] = package_version()
    return {name: rounded(value) for name, value in made.items()}, left_out


def _timed(made: dict[str, Any], times: Sequence[float] | None) -> list[str]:
    """Put the step between volumes in the place of a repetition time that is another.

    BIDS: "The time in seconds between the beginning of an acquisition of one volume and the
    beginning of acquisition of the volume following it". Repetition Time (0018,0080) is the period
    of the pulse sequence, and less where several excitations make a volume.
    """
    if times is None or len(times) < 2:
        return []
    steps = [b - a for a, b in pairwise(times)]
    step = (times[-1] - times[0]) / len(steps)
    stated = made.get("RepetitionTime")
    if stated is not None and abs(stated - step) <= max(_JITTER_S, _OTHER_TIME * step):
        return []
    is_regular = max(abs(one - step) for one in steps) <= max(_JITTER_S, _JITTER * step)
    if len(steps) < 2 or step <= 0 or not is_regular:
        # Volumes may be missing, or the first be a reference: one step or uneven ones tell nothing.
        return ["RepetitionTime: volumes begin at other times than it says"]
    if stated is not None:
        made["RepetitionTimeExcitation"] = stated
    made["RepetitionTime"] = round(step, 4)
    return ["RepetitionTime: the step between volumes, which is not what the header states"]


def of_field_map(
    made: dict[str, Any], suffix: str, echo_times_s: Sequence[float] | None, unit: str | None
) -> None:
    """Add what BIDS asks of a phase difference and of a map.

    Raises
    ------
    Refused
        It is not stated.
    """
    if suffix == "phasediff":
        if echo_times_s is None:
            of = "BIDS asks for both echo times of a phase difference"
            raise Refused(f"{of}, and no magnitudes of its study state two")
        made["EchoTime1"], made["EchoTime2"] = (rounded(time) for time in echo_times_s)
    if suffix == "fieldmap":
        if (unit or "").upper() != "HZ":
            raise Refused("BIDS asks for the unit of a field map, and Rescale Type is not Hz")
        made["Units"] = "Hz"


def sliced(made: dict[str, Any], times: Sequence[float] | None, depth: int) -> list[str]:
    """Add SliceTiming, in s from the begin of a volume; return what is against it."""
    if times is None:
        return []
    if len(times) != depth:
        return [f"SliceTiming: {len(times)} times of {depth} slices"]
    longest = made.get("RepetitionTime")
    if longest is None or not all(0 <= time < longest for time in times):
        return ["SliceTiming: beyond the repetition time"]
    made["SliceTiming"] = [rounded(time) for time in times]
    counts = set(Counter(made["SliceTiming"]).values())
    if len(counts) == 1 and max(counts) > 1:
        # As many slices at each time: they were excited at once.
        made.setdefault("MultibandAccelerationFactor", max(counts))
    made["SliceEncodingDirection"] = "k"
    return []


def rounded(value: Any) -> Any:
    """Return a value with numbers as they were meant; whole ones as integers."""
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short
