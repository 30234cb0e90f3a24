"""Assign field maps to images: ``IntendedFor``, ``B0FieldIdentifier``, ``B0FieldSource``.

In: the images of a data set. Out: fields for their sidecars. DICOM does not say what a field map is
for. The rule, which the manual states: maps that follow each other in a session, each with its own
direction, are one; it is for the images of its session that come after it, up to the next of its
kind; images before the first map take the first. A map whose acquisition label says ``rest`` or
``task`` is for such images alone.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.bids.written import Written

_KINDS = {
    "epi": "pepolar", "phasediff": "phasediff", "phase1": "phasediff", "phase2": "phasediff",
    "magnitude1": "phasediff", "magnitude2": "phasediff", "magnitude": "fieldmap",
    "fieldmap": "fieldmap",
}  # fmt: skip
_LAST = dt.datetime(9999, 12, 31)  # noqa: DTZ001 - in the clock of the device, as all
_TARGETS = {("func", "bold"), ("func", "sbref"), ("dwi", "dwi"), ("dwi", "sbref")}


@dataclass(slots=True)
class _Map:
    """Images that make one field map."""

    kind: str
    acq: str
    place: int
    names: dict[str, Written] = field(default_factory=dict)


def links(images: Iterable[Written]) -> dict[str, dict[str, Any]]:
    """Return by name of an image what its sidecar says of field maps."""
    sessions: dict[tuple[str, str], list[Written]] = defaultdict(list)
    for image in images:
        sessions[image.subject, image.session].append(image)
    made: dict[str, dict[str, Any]] = {}
    for (subject, session), found in sessions.items():
        maps, targets = _sorted(found)
        intended: dict[str, list[str]] = defaultdict(list)
        for place, target in targets:
            sources = []
            for kind in dict.fromkeys(one.kind for one in maps):
                fitting = [m for m in maps if m.kind == kind and _fits(m.acq, target)]
                before = [m for m in fitting if m.place < place]
                if chosen := (before[-1:] or fitting[:1]):
                    sources.append(_identifier(subject, session, chosen[0], maps))
                    for name in chosen[0].names:
                        intended[name].append(f"bids::{target.name}.nii.gz")
            if sources:
                made[target.name] = {"B0FieldSource": sources[0] if len(sources) == 1 else sources}
        for one in maps:
            for name in one.names:
                made[name] = {"B0FieldIdentifier": _identifier(subject, session, one, maps)}
                if name in intended:
                    made[name]["IntendedFor"] = intended[name]
    return made


def _sorted(images: list[Written]) -> tuple[list[_Map], list[tuple[int, Written]]]:
    """Return the field maps of a session, and the images they may be for, with places."""
    order = sorted(images, key=lambda image: (image.acquired_at or _LAST, image.name))
    maps: list[_Map] = []
    targets: list[tuple[int, Written]] = []
    is_open = False
    for place, image in enumerate(order):
        if image.data_type == "fmap":
            kind, acq = _KINDS[image.suffix], _label(image.name, "acq")
            role = re.sub(r"_run-\d+", "", image.name)
            last = next((m for m in reversed(maps) if (m.kind, m.acq) == (kind, acq)), None)
            known = {re.sub(r"_run-\d+", "", name) for name in last.names} if last else set()
            if last is None or not is_open or role in known:
                last = _Map(kind, acq, place)
                maps.append(last)
            last.names[image.name] = image
            is_open = True
        elif (image.data_type, image.suffix) in _TARGETS:
            targets.append((place, image))
            is_open = False
    return maps, targets


def _fits(acq: str, target: Written) -> bool:
    if acq == "rest":
        return target.task == "rest"
    if acq == "task":
        return target.task not in {None, "rest"}
    return True


def _identifier(subject: str, session: str, one: _Map, maps: list[_Map]) -> str:
    number = [m for m in maps if m.kind == one.kind].index(one) + 1
    return f"{one.kind}_sub{subject}_ses{session}_{number}"


def _label(name: str, label: str) -> str:
    found = re.search(rf"_{label}-([A-Za-z0-9]+)", name)
    return found[1] if found else ""
