"""``info``."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter
from rich.table import Table

from warehouse.cli.app import DEFAULT_WAREHOUSE, Root, app, existing
from warehouse.cli.screen import console, size_text
from warehouse.store.report import describe_store


@app.command
def info(
    *,
    warehouse: Root = DEFAULT_WAREHOUSE,
    as_json: Annotated[bool, Parameter(name="--json", negative="")] = False,
) -> int:
    """Show version, entities and size of the warehouse.

    Example: `dicom-warehouse info -w my-warehouse`
    """
    catalog = existing(warehouse).catalog
    facts = describe_store(catalog.snapshot)
    entities = {
        name: catalog.connection.execute(f"select count(*) from {name}").fetchall()[0][0]
        for name in ("patients", "studies", "series", "instances")
    }
    statuses = dict(
        catalog.connection.execute(
            "select status, count(*) from files group by all order by all"
        ).fetchall()
    )
    if as_json:
        print(json.dumps(asdict(facts) | {"entities": entities, "files": statuses}))
        return 0
    screen = console()
    screen.print(f"[bold]{facts.root}[/]  version {facts.version}, layout {facts.layout}\n")
    screen.print("  ".join(f"{count:,} {name}" for name, count in entities.items()))
    screen.print(
        "files: " + (", ".join(f"{n:,} {s}" for s, n in statuses.items()) or "none") + "\n"
    )
    grid = Table(
        "table", "rows", "parts", "size", "bytes/row", box=None, header_style="bold", pad_edge=False
    )
    for table in facts.tables:
        per_row = f"{table.size_bytes / table.rows:.1f}" if table.rows else ""
        grid.add_row(
            table.name, f"{table.rows:,}", str(table.parts), size_text(table.size_bytes), per_row
        )
    for column in grid.columns[1:]:
        column.justify = "right"
    screen.print(grid)
    return 0
