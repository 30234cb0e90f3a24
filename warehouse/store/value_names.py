"""Which files of ``values/`` a version names: content of values, and archives of artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.sqlfiles import statement
from warehouse.store.duck import connect

if TYPE_CHECKING:
    from warehouse.store.delta import Snapshot


def named_values(snapshot: Snapshot) -> set[str]:
    """Return the digests of all content that a version needs."""
    with connect() as connection:
        for variable, table in (
            ("value_parts", "socket_values"), ("artifact_parts", "artifact_events"),
        ):  # fmt: skip
            connection.execute(f"set variable {variable} = $1", [snapshot.paths(table)])
        rows = connection.execute(statement("named_values", "components")).fetchall()
    return {row[0] for row in rows}
