"""Create the JSON sidecar of an image, with the names and units of BIDS.

In: the fields of a series, and a piece of it. Out: a mapping in the order of writing, including the
repetition time, which the NIfTI header has too, and notes on omitted fields.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from warehouse.bids.refused import Refused
from warehouse.cohorts.runs import package_version
from warehouse.pixels.files import JITTER_S, regular_step

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
"""Valid values, greater than the first number and not greater than the second. Others are omitted,
such as a 0 that means unknown."""
_DIGITS = 9
"""Significant digits of numbers: 2435.37 ms are 2.43537 s, not 2.4353700000000003."""
_TIME_TOLERANCE = 0.05
"""Fraction of the step between volumes by which a repetition time may differ from it."""


def sidecar(
    fields: dict[str, Any], piece: Piece, suffix: str, task: str | None,
    times: Sequence[float] | None,
) -> tuple[dict[str, Any], list[str]]:  # fmt: skip
    """Return the sidecar of an image, and notes on omitted and replaced fields.

    Parameters
    ----------
    fields
        Fields of the series from ``sql/bids/sidecars.sql``.
    piece
        The image, with the values that distinguish it from others of its series.
    suffix, task
        As in its name.
    times
        Seconds from the first volume of the series to each of the file, if they are stated.

    Raises
    ------
    Refused
        A field that BIDS requires is not stated.
    """
    content = {name: value for name, value in fields.items() if value not in (None, "", [])}
    values = piece.values
    if "echo" in values:
        content["EchoTime"] = values["echo"] / 1000
    if "inv" in values:
        content["InversionTime"] = values["inv"] / 1000
    if "flip" in values:
        content["FlipAngle"] = values["flip"]
    notes = []
    for name, (low, high) in _RANGES.items():
        if name in content and not low < content[name] <= high:
            notes.append(f"{name}: {content.pop(name):g} is out of range")
    if suffix == "bold":
        content["TaskName"] = task
        notes += _set_repetition_time(content, times)
        if "RepetitionTime" not in content:
            raise Refused("BIDS requires RepetitionTime for a bold, which is not stated")
    if suffix in {"phase1", "phase2"} and "EchoTime" not in content:
        raise Refused("BIDS requires EchoTime for a phase image, which is not stated")
    if suffix == "epi" and "PhaseEncodingDirection" not in content:
        raise Refused("BIDS requires PhaseEncodingDirection for an epi, which is not stated")
    if suffix == "epi" and not {"TotalReadoutTime", "EffectiveEchoSpacing"} & content.keys():
        raise Refused("BIDS requires TotalReadoutTime for an epi, which is not stated")
    if content.get("ParallelReductionFactorInPlane", 2) < 1:
        notes.append("ParallelReductionFactorInPlane: it is less than 1")
        del content["ParallelReductionFactorInPlane"]
    content["ConversionSoftware"] = "dicom-warehouse"
    content["ConversionSoftwareVersion"] = package_version()
    numbers = {name: rounded(value) for name, value in content.items()}
    return {name: value for name, value in numbers.items() if value is not None}, notes


def _set_repetition_time(content: dict[str, Any], times: Sequence[float] | None) -> list[str]:
    """Replace a repetition time that differs from the step between volumes; return notes.

    BIDS: "The time in seconds between the beginning of an acquisition of one volume and the
    beginning of acquisition of the volume following it". Repetition Time (0018,0080) is the period
    of the pulse sequence, and less where several excitations make a volume.
    """
    if times is None or len(times) < 2:
        return []
    mean = (times[-1] - times[0]) / (len(times) - 1)
    stated = content.get("RepetitionTime")
    if stated is not None and abs(stated - mean) <= max(JITTER_S, _TIME_TOLERANCE * mean):
        return []
    step = regular_step(times)
    if step is None:
        return ["RepetitionTime: it contradicts the times of volumes"]
    if stated is not None:
        content["RepetitionTimeExcitation"] = stated
    content["RepetitionTime"] = round(step, 4)
    return ["RepetitionTime: the step between volumes, which differs from that of the header"]


def of_field_map(
    content: dict[str, Any], suffix: str, echo_times_s: Sequence[float] | None, unit: str | None
) -> None:
    """Add the fields that BIDS requires for a phase difference or a field map.

    Raises
    ------
    Refused
        A required field is not stated.
    """
    if suffix == "phasediff":
        if echo_times_s is None:
            requirement = "BIDS requires both echo times for a phase difference"
            raise Refused(f"{requirement}, and no magnitudes of its study state two")
        content["EchoTime1"], content["EchoTime2"] = (rounded(time) for time in echo_times_s)
    if suffix == "fieldmap":
        if (unit or "").upper() != "HZ":
            raise Refused("BIDS requires the unit of a field map, and Rescale Type is not Hz")
        content["Units"] = "Hz"


def sliced(content: dict[str, Any], times: Sequence[float] | None, depth: int) -> list[str]:
    """Add SliceTiming, in s from the start of a volume; return notes if it is omitted."""
    if times is None:
        return []
    if len(times) != depth:
        return [f"SliceTiming: {len(times)} times for {depth} slices"]
    longest = content.get("RepetitionTime")
    if longest is None or not all(0 <= time < longest for time in times):
        return ["SliceTiming: times exceed the repetition time"]
    content["SliceTiming"] = [rounded(time) for time in times]
    counts = set(Counter(content["SliceTiming"]).values())
    if len(counts) == 1 and max(counts) > 1:
        # Equally many slices at each time were excited simultaneously.
        content.setdefault("MultibandAccelerationFactor", max(counts))
    content["SliceEncodingDirection"] = "k"
    return []


def rounded(value: Any) -> Any:
    """Round floats to ``_DIGITS`` digits; whole ones become int, non-finite ones None."""
    if isinstance(value, list | tuple):
        return [rounded(part) for part in value]
    if isinstance(value, bool) or not isinstance(value, float):
        return value
    if not math.isfinite(value):
        return None
    number = float(f"{value:.{_DIGITS}g}")
    return int(number) if number.is_integer() else number
