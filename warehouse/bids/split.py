"""Split a series into the files of BIDS: by echo, inversion, flip angle and part.

In: a volume, and where BIDS puts its series. Out: ``Piece`` records, or the reason why there are
none. What the volumes are is what ``volume.labels`` says.
"""

from __future__ import annotations

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
"""Labels of names, as BIDS orders them."""
SERIES_OF_VOLUMES = {"bold", "sbref", "dwi", "epi"}
"""Suffixes of files that may hold several volumes; others hold one."""
_SPLITS = {
    "echo": "echo_time_ms",
    "flip": "flip_angle_degrees",
    "inv": "inversion_time_ms",
    "part": "image_type",
}
"""Label of a name, and the label of volumes that it stands for."""
_NUMBERED = {"magnitude1": "magnitude", "phasediff": "phase"}
"""Suffixes that have the number of the echo behind them where a series holds two."""
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
        Numbers of its volumes, from 0, in the order of the file.
    values
        By label of names: the value by which its volumes are told from those of other files, in
        the unit of ``volume.labels``.
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
        Where it lies, as the view ``bids_paths`` says.
    suffix
        Such as ``bold``.
    labels
        Which labels BIDS knows of that suffix.
    kept
        Volumes that are written; None for all.

    Raises
    ------
    Refused
        Volumes differ by what BIDS does not tell apart.
    """
    count = int(np.prod(volume.shape[: volume.leading], dtype=np.int64))
    numbers = list(range(count)) if kept is None else list(kept)
    stated = {name: found for name, label in _SPLITS.items() if (found := along(volume, label))}
    if "echo" not in stated and along(volume, "echo_number"):
        raise Refused("volumes of several echoes, and none of them states an echo time of its own")
    if "part" in stated:
        stated["part"] = _parts(stated["part"], numbers)
    keys: dict[str, list[Any]] = {}
    for name, values in stated.items():
        if len({values[number] for number in numbers}) > 1:
            if name == "echo" and suffix in _NUMBERED:
                keys[name] = values
                continue
            if name not in labels:
                of = f"volumes of several {_SPLITS[name]}"
                raise Refused(f"{of}, which BIDS does not tell apart in a {suffix}")
            if f"_{name}-" in path:
                raise Refused(f"several {_SPLITS[name]} in it and in its acquisition")
            keys[name] = values
    groups: dict[tuple[Any, ...], list[int]] = {}
    for number in numbers:
        groups.setdefault(tuple(values[number] for values in keys.values()), []).append(number)
    made = []
    for key, members in groups.items():
        if len(members) > 1 and suffix not in SERIES_OF_VOLUMES:
            said = [name for name in volume.labels if name not in _SPLITS.values()]
            by = f" by {', '.join(said)}" if said else ""
            raise Refused(f"{len(members)} volumes{by}, and a {suffix} has one")
        told = dict(zip(keys, key, strict=True))
        entities = {name: _entity(name, value, keys[name], numbers) for name, value in told.items()}
        if suffix in _NUMBERED and (echo := entities.pop("echo", None)):
            where, _, _ = path.rpartition("_")
            made.append(Piece(f"{where}_{_NUMBERED[suffix]}{echo}", tuple(members), told))
            continue
        made.append(Piece(_named(path, entities), tuple(members), told))
    return made


def along(volume: LazyVolume, label: str) -> list[Any]:
    """Return the value of a label for each volume of the file; empty if it does not vary."""
    if label not in volume.labels:
        return []
    dims = volume.dims[: volume.leading]
    of = volume.label_dims[label]
    made = []
    for place in np.ndindex(*volume.shape[: volume.leading]):
        value: Any = volume.labels[label]
        for axis in of:
            value = value[place[dims.index(axis)]]
        made.append(tuple(value) if isinstance(value, list) else value)
    return made


def _parts(kinds: Sequence[Any], numbers: Sequence[int]) -> list[str]:
    """Return which part of a complex image each volume is."""
    made = []
    for number, kind in enumerate(kinds):
        found = [_COMPONENTS[word] for word in (kind or ())[2:] if word in _COMPONENTS]
        if not found and number in set(numbers):
            raise Refused("volumes of several image types, and not all say which part they are")
        made.append(found[0] if found else "")
    rest: dict[str, set[Any]] = {}
    for number in numbers:
        others = tuple(word for word in kinds[number] if word not in _COMPONENTS)
        rest.setdefault(made[number], set()).add(others)
    if any(len(found) > 1 for found in rest.values()):
        raise Refused("volumes of several image types")
    return made


def _entity(name: str, value: Any, values: Sequence[Any], numbers: Sequence[int]) -> str:
    if value is None or isinstance(value, tuple):
        raise Refused(f"not all volumes state one {_SPLITS[name]}")
    if name == "part":
        return str(value)
    if name == "inv":  # as the view bids_paths does
        return str(round(value))
    return str(sorted({values[number] for number in numbers}).index(value) + 1)


def _named(path: str, entities: dict[str, str]) -> str:
    """Return a path with labels put in where BIDS has them."""
    folder, _, stem = path.rpartition("/")
    *parts, suffix = stem.split("_")
    known = dict(part.split("-", 1) for part in parts) | entities
    named = "_".join(f"{name}-{known[name]}" for name in ORDER if name in known)
    return f"{folder}/{named}_{suffix}"


def suffix_of(name: str) -> str:
    """Return the suffix of a name.

    >>> suffix_of("sub-1/ses-1/fmap/sub-1_ses-1_magnitude2")
    'magnitude2'
    """
    return name.rpartition("_")[2]
