"""Split a series into the files of BIDS: by echo, inversion, flip angle and part.

In: a volume, and the BIDS path of its series. Out: ``Piece`` records, or ``Refused`` with a reason.
``volume.labels`` describes the volumes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from warehouse.bids.refused import Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.pixels.volume import LazyVolume

ORDER = (
    "sub", "ses", "task", "acq", "ce", "rec", "dir", "run", "echo", "flip", "inv", "part",
)  # fmt: skip
"""Labels of names, in the order of BIDS."""
SERIES_OF_VOLUMES = {"bold", "sbref", "dwi", "epi"}
"""Suffixes of files that may hold several volumes; others hold one."""
_SPLITS = {
    "echo": "echo_time_ms",
    "flip": "flip_angle_degrees",
    "inv": "inversion_time_ms",
    "part": "image_type",
}
"""Label of a name → the label of volumes that it is derived from."""
_ECHO_SUFFIXES = {"magnitude1": "magnitude", "phasediff": "phase"}
"""Suffix → the suffix to which the echo number is appended, if a series has several echoes."""
_COMPONENTS = {
    "M": "mag", "MAGNITUDE": "mag", "P": "phase", "PHASE": "phase", "PHASE MAP": "phase",
    "R": "real", "REAL": "real", "I": "imag", "IMAGINARY": "imag",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Piece:
    """One image file.

    Attributes
    ----------
    name
        Path in the data set, without extension.
    volumes
        Indices of its volumes, from 0, in the order of the file.
    values
        Label of a name → the value that distinguishes its volumes from those of other files, in the
        unit of ``volume.labels``.
    """

    name: str
    volumes: tuple[int, ...]
    values: dict[str, Any] = field(default_factory=dict)


def pieces(
    volume: LazyVolume, path: str, suffix: str, labels: Sequence[str], kept: Sequence[int] | None
) -> list[Piece]:
    """Return the files of a series.

    Parameters
    ----------
    volume
        The series.
    path
        Its path in the view ``bids_paths``.
    suffix
        Such as ``bold``.
    labels
        Labels that BIDS has for the suffix.
    kept
        Indices of the volumes to write; None for all.

    Raises
    ------
    Refused
        Volumes differ in a way that BIDS does not distinguish.
    """
    count = int(np.prod(volume.shape[: volume.leading], dtype=np.int64))
    numbers = list(range(count)) if kept is None else list(kept)
    stated = {name: values for name, label in _SPLITS.items() if (values := along(volume, label))}
    if "echo" not in stated and along(volume, "echo_number"):
        raise Refused("it has several echoes, which do not differ in the stated echo time")
    if "part" in stated:
        stated["part"] = _complex_parts(stated["part"], numbers)
    keys: dict[str, list[Any]] = {}
    for name, values in stated.items():
        if len({values[number] for number in numbers}) > 1:
            if name == "echo" and suffix in _ECHO_SUFFIXES:
                keys[name] = values
                continue
            if name not in labels:
                description = f"it has volumes of several {_SPLITS[name]}"
                raise Refused(f"{description}, which BIDS does not distinguish for a {suffix}")
            # The inversion time in the path is the least one of the series.
            if name != "inv" and f"_{name}-" in path:
                raise Refused(f"both the series and its acquisition have several {_SPLITS[name]}")
            keys[name] = values
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number in numbers:
        groups.setdefault(tuple(values[number] for values in keys.values()), []).append(number)
    result = []
    for key, members in groups.items():
        if len(members) > 1 and suffix not in SERIES_OF_VOLUMES:
            other_labels = [name for name in volume.labels if name not in _SPLITS.values()]
            by = f" by {', '.join(other_labels)}" if other_labels else ""
            raise Refused(f"it has {len(members)} volumes{by}, and a {suffix} has one")
        distinguishing = dict(zip(keys, key, strict=True))
        entities = {
            name: _label_value(name, value, keys[name], numbers)
            for name, value in distinguishing.items()
        }
        if suffix in _ECHO_SUFFIXES and (echo := entities.pop("echo", None)):
            if len({keys["echo"][number] for number in numbers}) > 2:
                raise Refused("it has more than two echo times, and BIDS has names for two")
            where, _, _ = path.rpartition("_")
            result.append(
                Piece(f"{where}_{_ECHO_SUFFIXES[suffix]}{echo}", tuple(members), distinguishing)
            )
            continue
        result.append(Piece(_with_labels(path, entities), tuple(members), distinguishing))
    if len({piece.name for piece in result}) < len(result):
        raise Refused("it has inversion times that are the same in whole ms, which names state")
    return result


def along(volume: LazyVolume, label: str) -> list[Any]:
    """Return the value of a label for each volume; an empty list if they do not have it."""
    if label not in volume.labels:
        return []
    dims = volume.dims[: volume.leading]
    axes = volume.label_dims[label]
    result = []
    for index in np.ndindex(*volume.shape[: volume.leading]):
        value: Any = volume.labels[label]
        for axis in axes:
            value = value[index[dims.index(axis)]]
        result.append(tuple(value) if isinstance(value, list) else value)
    return result


def _complex_parts(kinds: Sequence[Any], numbers: Sequence[int]) -> list[str]:
    """Return the part of a complex image that each volume is: magnitude, phase, and so on."""
    parts = []
    for number, kind in enumerate(kinds):
        components = [_COMPONENTS[word] for word in (kind or ())[2:] if word in _COMPONENTS]
        if not components and number in set(numbers):
            raise Refused(
                "it has volumes of several image types, and not all state which part they are"
            )
        parts.append(components[0] if components else "")
    types_of_part: dict[str, set[Any]] = {}
    for number in numbers:
        others = tuple(word for word in kinds[number] if word not in _COMPONENTS)
        types_of_part.setdefault(parts[number], set()).add(others)
    if any(len(types) > 1 for types in types_of_part.values()):
        raise Refused("it has volumes of several image types")
    return parts


def _label_value(name: str, value: Any, values: Sequence[Any], numbers: Sequence[int]) -> str:
    if value is None or isinstance(value, tuple):
        raise Refused(f"not all volumes state a single {_SPLITS[name]}")
    if name == "part":
        return str(value)
    if name == "inv":  # as the view bids_paths does: halves are rounded up
        return str(math.floor(value + 0.5))
    return str(sorted({values[number] for number in numbers}).index(value) + 1)


def _with_labels(path: str, entities: dict[str, str]) -> str:
    """Return a path with labels added in the order of BIDS."""
    folder, _, stem = path.rpartition("/")
    *parts, suffix = stem.split("_")
    label_values = dict(part.split("-", 1) for part in parts) | entities
    joined = "_".join(f"{name}-{label_values[name]}" for name in ORDER if name in label_values)
    return f"{folder}/{joined}_{suffix}"


def suffix_of(name: str) -> str:
    """Return the suffix of a name.

    >>> suffix_of("sub-1/ses-1/fmap/sub-1_ses-1_magnitude2")
    'magnitude2'
    """
    return name.rpartition("_")[2]
