"""Read, create, edit and retire the sockets of a warehouse.

In: the folder of a warehouse. Out: ``Socket``s. ``warehouse.components.sockets`` has the rules.
They are applied to the newest versions under the writer lock, so that of two processes that create
the same socket only one succeeds.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from warehouse.components import ledger
from warehouse.components.checking import Checked, check_stored
from warehouse.components.sockets import Socket, default_sockets, edited_socket, new_socket
from warehouse.errors import SocketRefused, UnknownSocket
from warehouse.store.marker import require

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from warehouse.store.delta import Snapshot

_AS_JSON = ("schema", "default_value", "example_value", "overlay_segments", "look_up_table")
_NULLABLE = frozenset({"default_value", "example_value", "look_up_table"})


@dataclass(frozen=True, slots=True)
class Edited:
    """Result of an edit: the new version, and the validation of existing values."""

    socket: Socket
    report: list[Checked]
    """Values of the socket, validated against the new version if schema or segments changed."""

    @property
    def failing(self) -> list[Checked]:
        """Values that are invalid in the new version."""
        return [checked for checked in self.report if checked.why_not]


def known_sockets(
    root: Path, snapshot: Snapshot | None = None, *, for_algorithms: bool = False
) -> dict[str, Socket]:
    """Return the newest version of every socket by slug, default sockets first.

    Parameters
    ----------
    root
        Folder of a warehouse.
    snapshot
        Version of the warehouse; the newest by default.
    for_algorithms
        Leave out sockets that are reserved or retired: algorithms cannot use them.

    Raises
    ------
    NotAWarehouse
    """
    require(root)
    sockets = {socket.slug: socket for socket in default_sockets()}
    for socket in _versions(root, snapshot):
        sockets[socket.slug] = socket
    if not for_algorithms:
        return sockets
    return {s.slug: s for s in sockets.values() if not (s.is_reserved or s.is_retired)}


def find_socket(root: Path, slug: str, version: int | None = None) -> Socket:
    """Return a version of a socket, by default the newest.

    Raises
    ------
    UnknownSocket
    """
    known = known_sockets(root)
    if slug not in known:
        raise UnknownSocket(slug, known)
    if version is None or known[slug].version == version:
        return known[slug]
    versions = [*default_sockets(), *_versions(root, None)]
    matching = [s for s in versions if s.slug == slug and s.version == version]
    if not matching:
        raise UnknownSocket(f"{slug}, version {version}", ())
    return matching[0]


def _versions(root: Path, snapshot: Snapshot | None) -> list[Socket]:
    rows = ledger.all_rows(root, snapshot, "socket_versions", "pk, version")
    return [_from_row(row) for row in rows]


def _from_row(row: Mapping[str, Any]) -> Socket:
    parsed = {name: None if row[name] is None else json.loads(row[name]) for name in _AS_JSON}
    return Socket(**{**row, **parsed})


def _to_row(socket: Socket) -> dict[str, Any]:
    row = asdict(socket)
    for name in _AS_JSON:
        missing = name in _NULLABLE and row[name] is None
        row[name] = None if missing else json.dumps(row[name], sort_keys=True, ensure_ascii=False)
    return row


def create_socket(
    root: Path, given: Mapping[str, Any], *, by: str = "", slug: str | None = None
) -> Socket:
    """Create a socket; see ``sockets.new_socket``.

    Raises
    ------
    SocketRefused, SchemaRefused, UnknownKind, WriteFailed
    """
    require(root)
    new_socket(given, known_sockets(root), by, slug)  # slow checks, before the lock
    created: list[Socket] = []

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        created.append(new_socket(given, known_sockets(root, base), by, slug))
        return {"socket_versions": [_to_row(created[-1])]}

    ledger.add_rows(root, make, "create socket")
    return created[-1]


def edit_socket(
    root: Path, slug: str, changes: Mapping[str, Any], *, by: str = "",
    even_if_values_fail: bool = False,
) -> Edited:  # fmt: skip
    """Add the next version of a socket.

    Existing values are validated against it first. They keep the version that accepted them.

    Parameters
    ----------
    root
        Folder of a warehouse.
    slug
        The socket.
    changes
        Fields to change; see ``sockets.edited_socket``.
    by
        Who edits it.
    even_if_values_fail
        Add the version even if existing values are invalid in it.

    Raises
    ------
    UnknownSocket, SocketRefused, SchemaRefused
    """
    before = find_socket(root, slug)
    after = _next_version(root, None, before, changes, by)
    report: list[Checked] = []
    if after.schema != before.schema or after.overlay_segments != before.overlay_segments:
        report = check_stored(root, after)
    failing = [checked for checked in report if checked.why_not]
    if failing and not even_if_values_fail:
        raise SocketRefused(
            "schema",
            f"would not accept {len(failing)} of {len(report)} existing values: value "
            f"{failing[0].value_id}: {failing[0].path}: {failing[0].why_not}. Change it, or use "
            "--even-if-values-fail",
        )
    edited: list[Socket] = []

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        current = known_sockets(root, base)[slug]
        if current.version != before.version:
            raise SocketRefused(slug, "was edited by another process meanwhile; read it again")
        edited.append(_next_version(root, base, current, changes, by))
        return {"socket_versions": [_to_row(edited[-1])]}

    ledger.add_rows(root, make, "edit socket")
    return Edited(edited[-1], report)


def _next_version(
    root: Path, base: Snapshot | None, socket: Socket, changes: Mapping[str, Any], by: str
) -> Socket:
    """Return the next version of a socket, which is not stored."""
    with ledger.connected(root, base) as connection:
        used = connection.execute(
            "select count(*) from socket_values where slug = $1", [socket.slug]
        ).fetchall()[0][0]
    return edited_socket(socket, changes, known_sockets(root, base), is_used=bool(used), by=by)
