"""Assign field maps to images: ``IntendedFor``, ``B0FieldIdentifier``, ``B0FieldSource``.

In: the images of a data set. Out: fields for their sidecars. DICOM does not state which images a
field map is for. The rule, as in the manual: consecutive map images of a session that differ in
more than the run are one map; it is for the later images of the session up to the next map of its
kind; images before the first map use the first. A map with the acquisition label ``rest`` or
``task`` is only for such images.
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

_KIND_OF_SUFFIX = {
    "epi": "pepolar", "phasediff": "phasediff", "phase1": "phasediff", "phase2": "phasediff",
    "magnitude1": "phasediff", "magnitude2": "phasediff", "magnitude": "fieldmap",
    "fieldmap": "fieldmap",
}  # fmt: skip
_LAST = dt.datetime(9999, 12, 31)  # noqa: DTZ001 - in the clock of the device, as all
_TARGETS = {("func", "bold"), ("func", "sbref"), ("dwi", "dwi"), ("dwi", "sbref")}


@dataclass(slots=True)
class _Map:
    """Images that form one field map."""

    kind: str
    acq: str
    position: int
    names: dict[str, Written] = field(default_factory=dict)


def links(images: Iterable[Written]) -> dict[str, dict[str, Any]]:
    """Return the fields about field maps of each sidecar, by name of its image."""
    sessions: dict[tuple[str, str], list[Written]] = defaultdict(list)
    for image in images:
        sessions[image.subject, image.session].append(image)
    fields: dict[str, dict[str, Any]] = {}
    for (subject, session), session_images in sessions.items():
        maps, targets = _maps_and_targets(session_images)
        intended: dict[str, list[str]] = defaultdict(list)
        for position, target in targets:
            sources = []
            for kind in dict.fromkeys(field_map.kind for field_map in maps):
                fitting = [m for m in maps if m.kind == kind and _applies_to(m.acq, target)]
                earlier = [m for m in fitting if m.position < position]
                if chosen := (earlier[-1:] or fitting[:1]):
                    sources.append(_identifier(subject, session, chosen[0], maps))
                    for name in chosen[0].names:
                        intended[name].append(f"bids::{target.name}.nii.gz")
            if sources:
                fields[target.name] = {
                    "B0FieldSource": sources[0] if len(sources) == 1 else sources
                }
        for field_map in maps:
            for name in field_map.names:
                fields[name] = {"B0FieldIdentifier": _identifier(subject, session, field_map, maps)}
                if name in intended:
                    fields[name]["IntendedFor"] = intended[name]
    return fields


def _maps_and_targets(images: list[Written]) -> tuple[list[_Map], list[tuple[int, Written]]]:
    """Return the field maps of a session, and the images they may be for with their positions."""
    order = sorted(images, key=lambda image: (image.acquired_at or _LAST, image.name))
    maps: list[_Map] = []
    targets: list[tuple[int, Written]] = []
    is_open = False
    for position, image in enumerate(order):
        if image.data_type == "fmap":
            kind, acq = _KIND_OF_SUFFIX[image.suffix], _label_of_name(image.name, "acq")
            role = re.sub(r"_run-\d+", "", image.name)
            latest = next((m for m in reversed(maps) if (m.kind, m.acq) == (kind, acq)), None)
            known = {re.sub(r"_run-\d+", "", name) for name in latest.names} if latest else set()
            if latest is None or not is_open or role in known:
                latest = _Map(kind, acq, position)
                maps.append(latest)
            latest.names[image.name] = image
            is_open = True
        elif (image.data_type, image.suffix) in _TARGETS:
            targets.append((position, image))
            is_open = False
    return maps, targets


def _applies_to(acq: str, target: Written) -> bool:
    if acq == "rest":
        return target.task == "rest"
    if acq == "task":
        return target.task not in {None, "rest"}
    return True


def _identifier(subject: str, session: str, field_map: _Map, maps: list[_Map]) -> str:
    number = [m for m in maps if m.kind == field_map.kind].index(field_map) + 1
    return f"{field_map.kind}_sub{subject}_ses{session}_{number}"


def _label_of_name(name: str, label: str) -> str:
    match = re.search(rf"_{label}-([A-Za-z0-9]+)", name)
    return match[1] if match else ""
