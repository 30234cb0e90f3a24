"""Answer C-MOVE and C-GET: send stored instances byte for byte as in their files."""

from __future__ import annotations

import os
from itertools import islice
from typing import TYPE_CHECKING, Any

from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import evt
from pynetdicom.ae import ApplicationEntity
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]

from warehouse.listener.find import (
    CANCELLED,
    LEVELS,
    PENDING,
    UNIQUE,
    QueryRefused,
    read_query,
    refused,
    rows,
)
from warehouse.listener.matching import KeyRefused
from warehouse.listener.sending import Stored, nodelay, send_stored
from warehouse.settings import S3Access

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pynetdicom.association import Association
    from pynetdicom.events import Event

    from warehouse.api import Warehouse
    from warehouse.listener.settings import ListenerSettings, Peer

MOST_CONTEXTS = 128
"""Limit of presentation contexts per association: their IDs are odd bytes (PS3.8 9.3.2.2)."""

MOST_INSTANCES = 65_535
"""Limit of instances per retrieval, which pynetdicom refuses beyond it: their number is a US."""


class Entity(ApplicationEntity):
    """Application entity that sends stored instances byte for byte."""

    def associate(self, *args: Any, **options: Any) -> Association:
        """Open an association over which ``Stored`` instances are sent byte for byte."""
        assoc = super().associate(*args, **options)
        send = assoc.send_c_store
        assoc.send_c_store = lambda *rest, **kwargs: send_stored(assoc, send, *rest, **kwargs)  # type: ignore[method-assign]
        return assoc


def requested_instances(event: Event, wh: Warehouse) -> list[Stored]:
    """Return the instances that an identifier names by unique keys, one beyond the limit at most.

    Raises
    ------
    QueryRefused, KeyRefused
    """
    query = read_query(event.identifier, str(event.context.abstract_syntax))
    levels = list(LEVELS)[: list(LEVELS).index(query.level) + 1]
    keys = {UNIQUE[level]: query.keys.get(UNIQUE[level], "") for level in levels}
    unique_key = keys[UNIQUE[query.level]]
    if not unique_key or set("*?") & set(unique_key):
        raise QueryRefused(f"{UNIQUE[query.level]} must have a value without wildcards")
    columns = (
        "SOPClassUID", "SOPInstanceUID", "TransferSyntaxUID", "file_path", "size_bytes",
        "modified_us",
    )  # fmt: skip
    access = S3Access.from_variables(os.environ)
    matches = rows(wh, "IMAGE", keys, columns)
    return [
        Stored([row[name] for name in columns], access)
        for row in islice(matches, MOST_INSTANCES + 1)
    ]


def get(event: Event, wh: Warehouse) -> Iterator[Any]:
    """Answer a C-GET: yield the number of instances, then each with the status "pending"."""
    try:
        instances = requested_instances(event, wh)
    except (QueryRefused, KeyRefused) as why:
        yield 1
        yield refused(why), None
        return
    yield len(instances)
    yield from _pending_instances(event, instances)


def move(event: Event, wh: Warehouse, settings: ListenerSettings) -> Iterator[Any]:
    """Answer a C-MOVE: yield destination, number of instances, then each as "pending"."""
    destination = _destination(event.move_destination or "", settings.destinations)
    if destination is None:
        yield None, None
        return
    try:
        instances = requested_instances(event, wh)
    except (QueryRefused, KeyRefused):
        instances = None
    if not instances:
        # Do not open an association if there is nothing to send.
        yield destination.host, destination.port, {}
        if instances is None:
            raise QueryRefused("the identifier does not have the unique keys of its level")
        yield 0
        return
    stated = {(str(each.SOPClassUID), each.syntax) for each in instances}
    # Where no instance states both, as all of them count as failed, any context will do.
    pairs = sorted(pair for pair in stated if all(pair)) or [(Verification, ImplicitVRLittleEndian)]
    options: dict[str, Any] = {
        # One context for each SOP class and transfer syntax, as nothing is transcoded.
        "contexts": [
            build_context(sop_class, syntax) for sop_class, syntax in pairs[:MOST_CONTEXTS]
        ],
        "evt_handlers": [(evt.EVT_CONN_OPEN, nodelay)],
    }
    if settings.tls:
        options["tls_args"] = (settings.tls.context(server=False), destination.host)
    yield destination.host, destination.port, options
    yield len(instances)
    yield from _pending_instances(event, instances)


def _destination(aet: str, known: Mapping[str, Peer]) -> Peer | None:
    return known.get(aet.strip())


def _pending_instances(event: Event, instances: list[Stored]) -> Iterator[Any]:
    for instance in instances:
        if event.is_cancelled:
            yield CANCELLED, None
            return
        yield PENDING, instance
