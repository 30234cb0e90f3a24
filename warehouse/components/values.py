"""Add values: validate them, store each once, and record author and subject.

In: ``Given``s. Out: one commit, and an ``Added`` for each. Files are copied into the warehouse, and
the copy is validated. A value that is already stored gets another use, and a use that is already
stored adds nothing: a call can be repeated, and two processes can add the same value at once.
"""

from __future__ import annotations

import io
import json
import os
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.components import annotation_rows, json_text, ledger
from warehouse.components.checking import Content, checked_file, checked_json, digest, now
from warehouse.components.files import opened
from warehouse.components.image_sets import require_series
from warehouse.components.socket_store import known_sockets
from warehouse.errors import UnknownSocket, UsageError, ValueRefused
from warehouse.store import delta, locks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.components.sockets import Socket
    from warehouse.store.delta import Snapshot
    from warehouse.store.layout import Part

ENTITIES = {
    "series": ("series", "series_key"),
    "instance": ("instances", "instance_key"),
    "study": ("studies", "study_key"),
    "patient": ("patients", "patient_key"),
}
"""Entity that a value may be about → table and key, which is usually the UID or PatientID."""

MISSING = object()
"""Marks a missing JSON value, as None is the value null."""


@dataclass(frozen=True, slots=True)
class Given:
    """A value to add: exactly one of ``value``, ``file``, ``dicom_series``."""

    slug: str
    value: Any = MISSING
    """A JSON value, as a Python object."""
    file: Path | None = None
    """A file, which may be an image."""
    dicom_series: str | None = None
    """SeriesInstanceUID, for a DICOM image set."""
    about: str | None = None
    """``series``, ``instance``, ``study`` or ``patient``."""
    about_key: str | None = None
    """Its UID, or PatientID."""
    added_by: str = ""
    tool: str = ""
    tool_version: str = ""


@dataclass(frozen=True, slots=True)
class Added:
    """Result of adding a value."""

    value_id: str
    is_new: bool
    """Whether the value was not stored before."""
    use_id: str
    is_new_use: bool


@dataclass(slots=True)
class Prepared:
    """A validated value that is not stored yet."""

    given: Given
    socket: Socket
    content: Content
    value_id: str
    staged: list[Part]
    shape_count: int | None = None


def add_values(
    root: Path, given: Sequence[Given], *, null_not_finite: bool = False, strict: bool = False,
    store: bool = True,
) -> list[Added]:  # fmt: skip
    """Add values in one commit: all of them, or none.

    Parameters
    ----------
    root
        Folder of a warehouse.
    given
        The values.
    null_not_finite
        Read NaN and Infinity in JSON files as null instead of refusing them.
    strict
        Also check geometry; see ``validate.require_valid``.
    store
        If false, values are validated, and nothing is stored.

    Raises
    ------
    UnknownSocket
    ValueRefused
        A value is invalid for its socket, or is about an entity that does not exist; nothing is
        stored.
    UsageError
        An entity is incomplete or of an unknown kind.
    SourceNotFound
    WriteFailed
        Nothing was stored.
    """
    if not given:
        return []
    sockets = known_sockets(root)
    with ExitStack() as stack:
        stack.enter_context(locks.writing(root))
        _require_entities(root, given)
        prepared: list[Prepared] = []
        try:
            for item in given:  # one by one, so that staged parts are known if one fails
                value = prepare(root, item, sockets, stack, nulls=null_not_finite, strict=strict)
                prepared += [value]
            return store_prepared(root, prepared) if store else []
        finally:
            # Staged parts that no version references: already stored, refused or not committed.
            drop_unnamed(root, [part for value in prepared for part in value.staged])


def drop_unnamed(root: Path, parts: Sequence[Part]) -> None:
    """Delete staged parts of annotations that no version references."""
    if not parts:
        return
    named_parts = set(delta.newest_parts(root, "annotations"))
    ledger.drop_parts(root, [("annotations", p) for p in parts if p.path not in named_parts])


def _require_entities(root: Path, given: Sequence[Given]) -> None:
    """Check that the entities of values exist, and that series can be image sets."""
    keys_by_kind: dict[str, set[str]] = defaultdict(set)
    for new_value in given:
        if (new_value.about is None) != (new_value.about_key is None):
            raise UsageError("give both the entity that a value is about and its key, or neither")
        if new_value.about is not None and new_value.about_key is not None:
            if new_value.about not in ENTITIES:
                raise UsageError(
                    f"a value is about a {', '.join(ENTITIES)}, not a {new_value.about!r}"
                )
            keys_by_kind[new_value.about].add(new_value.about_key)
    if not keys_by_kind and all(new_value.dicom_series is None for new_value in given):
        return
    # Instances have the keys of all entities: querying the views would take ten times as long.
    with ledger.connected(root, tables=("instances",)) as connection:
        for about, keys in keys_by_kind.items():
            table, key = ENTITIES[about]
            rows = connection.execute(
                f"select distinct {key} from instances where {key} in (select unnest($1))",
                [sorted(keys)],
            ).fetchall()
            missing = keys - {row[0] for row in rows}
            if missing:
                raise ValueRefused(
                    f"{len(missing)} of the {table} that values are about are not in the warehouse"
                )
        for series in {
            new_value.dicom_series for new_value in given if new_value.dicom_series is not None
        }:
            require_series(connection, series)


def prepare(
    root: Path, given: Given, sockets: Mapping[str, Socket], stack: ExitStack, *,
    nulls: bool = False, strict: bool = False,
) -> Prepared:  # fmt: skip
    """Validate one value; its file is copied to a draft that is deleted when ``stack`` ends.

    Raises
    ------
    UnknownSocket, ValueRefused, SourceNotFound
    """
    if given.slug not in sockets:
        raise UnknownSocket(given.slug, sockets)
    socket = sockets[given.slug]
    if socket.is_retired:
        raise ValueRefused(f"the socket {socket.slug} is retired and takes no new values")
    content = _validated_content(root, given, socket, stack, nulls=nulls, strict=strict)
    identity = f"{socket.slug}\0{socket.version}\0{content.form}\0{content.sha256}"
    prepared = Prepared(given, socket, content, digest(identity)[:32], [])
    if socket.of_kind.is_annotation:
        prepared.shape_count = len(content.shapes)
        if content.is_streamed:
            assert content.file is not None
            prepared.staged, content.head, prepared.shape_count = annotation_rows.stage(
                root, prepared.value_id, socket.of_kind, content.file
            )
    return prepared


def _validated_content(
    root: Path, given: Given, socket: Socket, stack: ExitStack, *, nulls: bool, strict: bool
) -> Content:
    """Validate a JSON value, file or series; return its content."""
    forms = [given.value is not MISSING, given.file is not None, given.dicom_series is not None]
    if sum(forms) != 1:
        raise ValueRefused("give exactly one of a JSON value, a file and a series")
    if given.dicom_series is not None:
        if socket.kind != "DCMIS":
            raise ValueRefused(f"{socket.slug} is not a socket for DICOM image sets")
        return Content("series", digest(given.dicom_series), series_key=given.dicom_series)
    if given.file is None:
        if socket.super_kind == "V":
            return checked_json(socket, given.value, strict=strict)
        if not socket.of_kind.is_json:
            raise ValueRefused(f"{socket.slug} takes a file, not a JSON value")
        return _json_as_file(root, given.value, socket, stack, strict=strict)
    with opened(given.file) as source:
        draft = stack.enter_context(ledger.copied(root, source))
    return checked_file(socket, *draft, null_not_finite=nulls, strict=strict)


def _json_as_file(
    root: Path, value: Any, socket: Socket, stack: ExitStack, *, strict: bool
) -> Content:
    text = io.BytesIO(json_text.canonical(value).encode())
    draft = stack.enter_context(ledger.copied(root, text))
    return checked_file(socket, *draft, strict=strict)


def store_prepared(
    root: Path, prepared: list[Prepared],
    also: Callable[[Snapshot], Mapping[str, ledger.Rows]] | None = None,
    operation: str = "add values",
) -> list[Added]:  # fmt: skip
    """Commit the rows of all values that are not stored yet, and other rows in the same commit.

    ``also`` returns rows of other tables, given the version that they are added to; if it raises,
    nothing is committed. The caller holds ``locks.writing``.
    """
    for item in prepared:
        if item.content.file is not None and item.content.form in {"file", "image"}:
            target = ledger.value_file(root, item.content.sha256)
            if not target.is_file() or target.stat().st_size != item.content.size:
                ledger.store_file(root, item.content.file, item.content.sha256)
    added_at = now()
    values = {item.value_id: _value_row(item, added_at) for item in prepared}
    uses = {use["use_id"]: use for use in (_use_row(item, added_at) for item in prepared)}
    annotations = annotation_rows.measured(
        (item.value_id, item.socket.of_kind, item.content.shapes) for item in prepared
    )
    new: dict[str, set[str]] = {}

    def make(base: Snapshot) -> Mapping[str, ledger.Rows | pa.Table]:
        with ledger.connected(root, base) as connection:
            new["values"] = set(values) - _stored_keys(
                connection, "socket_values", "value_id", values
            )
            new["uses"] = set(uses) - _stored_keys(connection, "value_uses", "use_id", uses)
        new_ids = pa.array(sorted(new["values"]), pa.string())
        is_new = pa.compute.is_in(annotations["value_id"], new_ids)
        return {
            "socket_values": [values[key] for key in sorted(new["values"])],
            "value_uses": [uses[key] for key in sorted(new["uses"])],
            "annotations": annotations.filter(is_new),
            **(also(base) if also else {}),
        }

    def staged() -> dict[str, list[Part]]:
        # If a value is given twice, commit the parts of its first occurrence.
        parts_by_value = {item.value_id: item.staged for item in reversed(prepared)}
        return {"annotations": [p for key in sorted(new["values"]) for p in parts_by_value[key]]}

    ledger.add_rows(root, make, operation, staged)
    return [
        Added(
            item.value_id,
            item.value_id in new["values"],
            use["use_id"],
            use["use_id"] in new["uses"],
        )
        for item in prepared
        for use in [_use_row(item, added_at)]
    ]


def _stored_keys(
    connection: duckdb.DuckDBPyConnection, table: str, key: str, keys: Iterable[str]
) -> set[str]:
    rows = connection.execute(
        f"select {key} from {table} where {key} in (select unnest($1))", [list(keys)]
    ).fetchall()
    return {row[0] for row in rows}


def _value_row(prepared: Prepared, checked_at: Any) -> dict[str, Any]:
    content = prepared.content
    return {
        "value_id": prepared.value_id,
        "slug": prepared.socket.slug,
        "socket_version": prepared.socket.version,
        "form": content.form,
        "value": content.value,
        "sha256": content.sha256,
        "size_in_storage": content.size if content.form in {"file", "image"} else 0,
        "head": None if content.head is None else json.dumps(content.head, ensure_ascii=False),
        "shape_count": prepared.shape_count,
        "image_shape": content.image.get("image_shape"),
        "image_type": content.image.get("image_type"),
        "image_labels": content.image.get("image_labels"),
        "series_key": content.series_key,
        "checked_at": checked_at,
    }


def _use_row(prepared: Prepared, added_at: Any) -> dict[str, Any]:
    given = prepared.given
    facts = (given.about, given.about_key, given.added_by, given.tool, given.tool_version)
    identity = json.dumps([prepared.value_id, *facts])
    return {
        "use_id": digest(identity)[:32],
        "value_id": prepared.value_id,
        "about": given.about,
        "about_key": given.about_key,
        "added_by": given.added_by,
        "tool": given.tool,
        "tool_version": given.tool_version,
        "file_name": None if given.file is None else _file_name(given.file),
        "added_at": added_at,
    }


def _file_name(file: Path) -> str:
    """Return the name of a file as text, with replacement characters if it is not UTF-8."""
    return os.fsencode(os.path.basename(file)).decode("utf-8", "replace")
