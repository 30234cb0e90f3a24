"""Validate a new or stored value against its socket.

In: a socket, and a JSON value or a file. Out: ``Content``, what is to be stored, or
``ValueRefused``. ``check_stored`` repeats the checks for stored values, and verifies the digests of
their files.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from warehouse.components import json_text, ledger, shapes, stream, validate
from warehouse.components.files import require_file
from warehouse.components.image_checks import labels, require_image
from warehouse.errors import StoreDamaged, ValueRefused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.components.kinds import Kind
    from warehouse.components.sockets import Socket


@dataclass(slots=True)
class Content:
    """A valid value, in the form in which it is stored."""

    form: str
    sha256: str
    value: str | None = None
    """JSON text of a value that is stored in the table."""
    size: int = 0
    file: Path | None = None
    head: dict[str, Any] | None = None
    shapes: list[dict[str, Any]] = field(default_factory=list)
    """Shapes of an annotation that is not streamed."""
    image: dict[str, Any] = field(default_factory=dict)
    series_key: str | None = None
    is_streamed: bool = False
    """Whether the shapes are to be read from the file, in blocks."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of validating a stored value again."""

    value_id: str
    slug: str
    path: str
    """JSON path of the first error; ``$`` for the value as a whole."""
    why_not: str | None
    """Reason; None if the value is valid."""


def digest(text: str) -> str:
    """Return the SHA-256 of a text as hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def checked_json(socket: Socket, value: Any, *, strict: bool = False) -> Content:
    """Validate a JSON value that is to be stored in the table, and return its content.

    Raises
    ------
    ValueRefused
    """
    kind = socket.of_kind
    if socket.super_kind != "V":
        raise ValueRefused(f"{socket.slug} takes {_accepted_content(socket)}, not a JSON value")
    text = json_text.canonical(value)
    parsed = json_text.parse(text.encode())
    validate.require_valid(kind, socket.schema, parsed, strict=strict)
    content = Content("value", digest(text), value=text)
    if kind.is_annotation:
        content.head, content.shapes = shapes.head_of(kind, parsed), shapes.items_of(kind, parsed)
    return content


def _accepted_content(socket: Socket) -> str:
    kind = socket.of_kind
    if kind.code == "DCMIS":
        return "a series of the archive"
    if kind.is_image:
        return "an image file"
    return "a JSON value" if socket.super_kind == "V" else f"a file ({kind.label})"


def checked_file(
    socket: Socket, file: Path, sha256: str, size: int, *,
    null_not_finite: bool = False, strict: bool = False,
) -> Content:  # fmt: skip
    """Validate a file that was copied into the warehouse as a draft; return its content.

    Raises
    ------
    ValueRefused
    """
    kind = socket.of_kind
    if kind.code == "DCMIS" or socket.super_kind == "V":
        if socket.super_kind != "V":
            raise ValueRefused(f"{socket.slug} takes {_accepted_content(socket)}, not a file")
        if size > stream.STREAMED_BYTES:
            raise ValueRefused(
                f"{socket.slug} stores values in the table, and this one has more than "
                f"{stream.STREAMED_BYTES >> 20} MiB; use a socket that stores files"
            )
        parsed = json_text.parse(file.read_bytes(), null_not_finite=null_not_finite)
        return checked_json(socket, parsed, strict=strict)
    content = Content("file", sha256, size=size, file=file)
    if kind.is_image:
        content.form = "image"
        content.image = _image_facts(file, socket)
    elif not kind.is_json:
        require_file(file, kind)
    else:
        _validate_json_file(content, socket, null_not_finite=null_not_finite, strict=strict)
    return content


def _image_facts(file: Path, socket: Socket) -> dict[str, Any]:
    image = require_image(file, socket.kind, socket.overlay_segments)
    return {
        "image_shape": list(image.shape),
        "image_type": image.dtype.name,
        "image_labels": sorted(labels(image)) if socket.kind == "SEG" else None,
    }


def _validate_json_file(
    content: Content, socket: Socket, *, null_not_finite: bool, strict: bool
) -> None:
    """Validate a JSON file, and complete its content; large lists of shapes are streamed later."""
    kind, file = socket.of_kind, content.file
    assert file is not None
    if content.size > stream.STREAMED_BYTES and kind.item_kind and not socket.schema and not strict:
        content.is_streamed = True
        return
    if content.size > WHOLE_BYTES:
        raise ValueRefused(
            f"it has more than {WHOLE_BYTES >> 20} MiB; only Multiple* annotations may be larger, "
            "in sockets without a schema and without strict"
        )
    parsed = json_text.parse(file.read_bytes(), null_not_finite=null_not_finite)
    validate.require_valid(kind, socket.schema, parsed, strict=strict)
    if null_not_finite and _has_not_finite(file):
        # Store exactly what was checked.
        text = json_text.canonical(parsed)
        file.write_text(text, encoding="utf-8")
        content.sha256, content.size = digest(text), len(text.encode())
    if kind.is_annotation:
        content.head, content.shapes = shapes.head_of(kind, parsed), shapes.items_of(kind, parsed)


WHOLE_BYTES = 64 << 20
"""Largest JSON file that is parsed as a whole, in bytes."""


def _has_not_finite(file: Path) -> bool:
    try:
        json_text.parse(file.read_bytes())
    except ValueRefused:
        return True
    return False


def streamed_shapes(
    file: Path, kind: Kind, head: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:  # fmt: skip
    """Yield the shapes of a large file in validated blocks; see ``stream.blocks``."""
    with file.open("rb") as opened:
        yield from stream.blocks(opened, kind, head)


def check_stored(root: Path, socket: Socket) -> list[Checked]:
    """Validate every stored value of a socket against a version of it, and verify its file.

    Parameters
    ----------
    root
        Folder of a warehouse.
    socket
        The version to validate against; it need not be stored.
    """
    with ledger.connected(root) as connection:
        rows = ledger.dictionaries(
            connection,
            "select value_id, form, value, sha256, size_in_storage from socket_values "
            "where slug = $1 order by value_id", socket.slug,
        )  # fmt: skip
    return [recheck(root, socket, row) for row in rows]


def recheck(root: Path, socket: Socket, row: dict[str, Any]) -> Checked:
    """Validate a row of ``socket_values`` against a version of its socket, and verify its file."""
    path, why_not = "$", None
    try:
        if row["form"] == "value":
            checked_json(socket, json.loads(row["value"]))
        elif row["form"] != "series":
            file = ledger.open_value(root, row["sha256"])
            ledger.require_digest(file, row["sha256"])
            content = checked_file(socket, file, row["sha256"], row["size_in_storage"])
            if content.is_streamed:
                for _ in streamed_shapes(file, socket.of_kind, {}):
                    pass
    except ValueRefused as error:
        path, why_not = error.path, error.why
    except StoreDamaged as error:
        why_not = str(error)
    return Checked(row["value_id"], socket.slug, path, why_not)


def now() -> dt.datetime:
    """Return the current time in UTC, without a time zone, as tables have it."""
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)
