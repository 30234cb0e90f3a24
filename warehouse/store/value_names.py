"""List the files in ``values/`` that a version needs: values and archives of artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.sqlfiles import statement
from warehouse.store.duck import lent
from warehouse.store.tables import REGISTRY

if TYPE_CHECKING:
    from warehouse.store.delta import Snapshot


def named_values(snapshot: Snapshot) -> set[str]:
    """Return the digests of all content that a version needs."""
    with lent() as connection:
        for table in REGISTRY:
            if table.names_file is not None:
                parts = [snapshot.paths(table.name)]
                connection.execute(f"set variable {table.name}_parts = $1", parts)
        rows = connection.execute(statement("named_values", "components")).fetchall()
    return {row[0] for row in rows}
