"""Summaries of a warehouse: sizes and counts of entities, files and import modes.

In: a catalog. Out: plain values, for ``info`` and notebooks.
"""

from __future__ import annotations

import html
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from warehouse.settings import Mode
from warehouse.store.duck import literal
from warehouse.store.report import describe_store

if TYPE_CHECKING:
    import polars as pl

    from warehouse.catalog.connect import Catalog
    from warehouse.store.delta import Snapshot

_ENTITIES = ("patients", "studies", "series", "instances")
_FILES = "select status, count(*) from files group by all order by all"
_MODES = "select mode, count(*) from files where status = 'ingested' group by all"


def describe(catalog: Catalog) -> dict[str, Any]:
    """Return the version, sizes, and counts by entity, file status and import mode."""
    ask = catalog.connection.execute
    return asdict(describe_store(catalog.snapshot)) | {
        "entities": {
            name: ask(f"select count(*) from {name}").fetchall()[0][0] for name in _ENTITIES
        },
        "files": dict(ask(_FILES).fetchall()),
        "modes": dict(sorted(ask(_MODES).fetchall(), key=lambda row: Mode.parse(row[0]).rank)),
    }


def table_list(catalog: Catalog) -> pl.DataFrame:
    """Return name, kind, grain and description of every table and view; count no rows."""
    import polars as pl  # noqa: PLC0415 - who asks SQL alone does without

    rows = [
        (m.name, "table" if m.table else "view", ", ".join(m.grain), m.summary)
        for m in catalog.models.values()
    ]
    return pl.DataFrame(rows, schema=["name", "kind", "grain", "description"], orient="row")


def column_list(catalog: Catalog, name: str) -> pl.DataFrame:
    """Return column, type and meaning of every column of a table or view.

    Raises
    ------
    UnknownTable
    """
    import polars as pl  # noqa: PLC0415

    rows = [(c.name, c.type, c.description) for c in catalog.model(name).columns]
    return pl.DataFrame(rows, schema=["column", "type", "meaning"], orient="row")


def summary_html(snapshot: Snapshot, title: str) -> str:
    """Return the version and the row count of each stored table as HTML, for notebooks."""
    facts = describe_store(snapshot)
    rows = "".join(f"<tr><td>{t.name}</td><td>{t.rows:,}</td></tr>" for t in facts.tables)
    return f"<b>{html.escape(title)}</b><p>version {facts.version}</p><table>{rows}</table>"


def tags_like(text: str, *, private: bool) -> str:
    """Return the query for rows of ``tags`` whose tag, name or creator contains a text."""
    wanted = f"contains(lower(concat_ws(' ', tag, name, creator)), lower({literal(text)}))"
    wanted += " and is_private" if private else ""
    return f"select * exclude is_private from tags where {wanted} order by all"
