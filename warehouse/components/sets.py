"""Sets of values: archives of items, reader studies of display sets.

In: a set, an item, and a value for each socket. Out: rows of ``value_set_entries``; the view
``value_sets`` has the current values. An item has at most one value per socket: another value
replaces it, None removes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from warehouse.components import ledger
from warehouse.components.checking import now
from warehouse.errors import ComponentError, UnknownValue

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from warehouse.store.delta import Snapshot

MAX_NAME = 255

_CURRENT = (
    "select item, slug, value_id from value_set_entries where set_name = $1 "
    "qualify row_number() over (partition by item, slug order by entry desc) = 1"
)


def put(
    root: Path, set_name: str, item: str, values: Mapping[str, str | None], *, by: str = "",
    replace: bool = False, allowed: Iterable[str] | None = None,
) -> int:  # fmt: skip
    """Set the values of one item of a set; see ``put_items``.

    Returns
    -------
    int
        Number of values that were set or removed.
    """
    return put_items(root, set_name, {item: values}, by=by, replace=replace, allowed=allowed)


def put_items(
    root: Path, set_name: str, items: Mapping[str, Mapping[str, str | None]], *, by: str = "",
    replace: bool = False, allowed: Iterable[str] | None = None,
) -> int:  # fmt: skip
    """Set the values of items of a set, in one commit.

    Parameters
    ----------
    root
        Folder of a warehouse.
    set_name
        Name of the set, which is created with its first value.
    items
        Item → socket → id of a value, or None to remove the current one.
    by
        Who makes the change.
    replace
        Remove all other values of these items, which are kept by default.
    allowed
        Slugs of the sockets that items of this set may have; any by default.

    Raises
    ------
    ComponentError
        A name is empty or too long, or a socket is not allowed.
    UnknownValue
        A value does not exist, or is of another socket.
    """
    for name in (set_name, *items):
        if not name.strip() or len(name) > MAX_NAME or any(ord(c) < 32 for c in name):
            raise ComponentError(
                f"names of sets and items have 1 to {MAX_NAME} printable characters"
            )
    if allowed is not None:
        unwanted = {slug for values in items.values() for slug in values} - set(allowed)
        if unwanted:
            raise ComponentError(f"items of this set have no {', '.join(sorted(unwanted))}")
    counts: list[int] = []

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        with ledger.connected(root, base) as connection:
            _require_values(connection, items)
            rows = connection.execute(_CURRENT, [set_name]).fetchall()
            (last,) = connection.execute(
                "select coalesce(max(entry), 0) from value_set_entries"
            ).fetchall()[0]
        current = {(item, slug): value for item, slug, value in rows}
        changes = _changes(items, current, replace=replace)
        counts.append(len(changes))
        at = now()
        entries = [
            {
                "entry": last + number, "set_name": set_name, "item": item, "slug": slug,
                "value_id": value, "changed_at": at, "changed_by": by,
            }
            for number, ((item, slug), value) in enumerate(changes.items(), 1)
        ]  # fmt: skip
        return {"value_set_entries": entries}

    ledger.add_rows(root, make, "put values")
    return counts[-1]


def _changes(
    items: Mapping[str, Mapping[str, str | None]], current: Mapping[tuple[str, str], str | None],
    *, replace: bool,
) -> dict[tuple[str, str], str | None]:  # fmt: skip
    """Return the entries that differ from the current values; None removes a value."""
    new_values: dict[tuple[str, str], str | None] = {
        (item, slug): value for item, values in items.items() for slug, value in values.items()
    }
    if replace:
        new_values = {**{key: None for key in current if key[0] in items}, **new_values}
    return {key: value for key, value in new_values.items() if current.get(key) != value}


def _require_values(connection: Any, items: Mapping[str, Mapping[str, str | None]]) -> None:
    pairs = {
        (value, slug)
        for values in items.values() for slug, value in values.items() if value is not None
    }  # fmt: skip
    known = connection.execute(
        "select value_id, slug from socket_values where value_id in (select unnest($1))",
        [sorted({value for value, _ in pairs})],
    ).fetchall()
    missing = pairs - set(known)
    if missing:
        raise UnknownValue(f"{len(missing)} of the values do not exist, or are of another socket")
