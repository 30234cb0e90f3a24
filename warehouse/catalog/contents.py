"""What a warehouse holds, in numbers: its size, entities, files and import modes.

In: a catalog. Out: plain values, which ``info`` and notebooks show.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from warehouse.settings import Mode
from warehouse.store.report import describe_store

if TYPE_CHECKING:
    from warehouse.catalog.connect import Catalog

_ENTITIES = ("patients", "studies", "series", "instances")
_FILES = "select status, count(*) from files group by all order by all"
_MODES = "select mode, count(*) from files where status = 'ingested' group by all"


def describe(catalog: Catalog) -> dict[str, Any]:
    """Return version and sizes of a warehouse, and how many of each entity, status and mode."""
    ask = catalog.connection.execute
    return asdict(describe_store(catalog.snapshot)) | {
        "entities": {
            name: ask(f"select count(*) from {name}").fetchall()[0][0] for name in _ENTITIES
        },
        "files": dict(ask(_FILES).fetchall()),
        "modes": dict(sorted(ask(_MODES).fetchall(), key=lambda row: Mode.parse(row[0]).rank)),
    }
