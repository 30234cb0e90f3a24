"""Read stored values as JSON or files.

In: the id of a value, or a unique prefix of it. Out: its row, its JSON, its file. An annotation is
restored from its rows; a missing file raises ``StoreDamaged``.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from warehouse.components import ledger, shapes
from warehouse.components.socket_store import find_socket
from warehouse.errors import UnknownValue

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def value_row(root: Path, value_id: str) -> dict[str, Any]:
    """Return the row of a value, by its id or a unique prefix of it.

    Raises
    ------
    UnknownValue
    """
    with ledger.connected(root) as connection:
        rows = ledger.dictionaries(
            connection,
            "select * exclude batch from socket_values where starts_with(value_id, $1) limit 2",
            value_id,
        )  # fmt: skip
    if not value_id or len(rows) != 1:
        matches = "no value" if not rows else "more than one value"
        raise UnknownValue(
            f"{matches} has an id that begins so; dicom-warehouse value list shows all"
        )
    return rows[0]


def read_value(root: Path, value_id: str) -> Any:
    """Return a JSON value; an annotation is restored from its rows.

    Raises
    ------
    UnknownValue
        No value has that id, or it is not JSON.
    """
    row = value_row(root, value_id)
    kind = find_socket(root, row["slug"], row["socket_version"]).of_kind
    if not kind.is_json:
        raise UnknownValue(f"the value is {row['form']} of kind {kind.label}, which is not JSON")
    if row["head"] is not None:
        return shapes.rebuilt(kind, json.loads(row["head"]), _shape_rows(root, row["value_id"]))
    if row["form"] == "value":
        return json.loads(row["value"])
    return json.loads(ledger.open_value(root, row["sha256"]).read_bytes())


def _shape_rows(root: Path, value_id: str) -> Iterator[dict[str, Any]]:
    with ledger.connected(root) as connection:
        reader = connection.sql(
            "select * from annotations where value_id = $1 order by index", params=[value_id]
        ).to_arrow_reader(10_000)
        for batch in reader:
            yield from batch.to_pylist()


def value_path(root: Path, value_id: str) -> Path:
    """Return the path of the file of a value, which must not be changed.

    Raises
    ------
    UnknownValue, StoreDamaged
    """
    row = value_row(root, value_id)
    if row["form"] not in {"file", "image"}:
        raise UnknownValue("the value is not a file")
    return ledger.open_value(root, row["sha256"])
