"""``Socket``: a type of values, with its kind, path, schema and display settings.

In: fields written by a user, and the existing sockets. Out: a validated ``Socket``, or
``SocketRefused``. Nothing is stored here (see ``warehouse.components.socket_store``). An edit makes
the next version of a socket; versions are never changed.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import re
import unicodedata
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from warehouse.components import json_text, overlays, paths, validate
from warehouse.components.examples import EXAMPLES
from warehouse.components.kinds import SUPER_KINDS, Kind, find_kind
from warehouse.errors import SocketRefused, ValueRefused
from warehouse.inputs import read_text
from warehouse.sqlfiles import sql_folder

if TYPE_CHECKING:
    from collections.abc import Mapping

_EPOCH = dt.datetime(2000, 1, 1)  # noqa: DTZ001 - UTC, as all times of the store


@dataclass(frozen=True, slots=True)
class Socket:
    """One version of a socket."""

    slug: str
    pk: int
    """Permanent number, as in Grand Challenge's API."""
    version: int
    """Counted from 1, incremented by each edit; 0 for default sockets."""
    title: str
    description: str
    kind: str
    """Code, such as ``MPOL``."""
    relative_path: str
    store_in_database: bool
    schema: dict[str, Any] = field(default_factory=dict)
    default_value: Any = None
    example_value: Any = None
    overlay_segments: list[dict[str, Any]] = field(default_factory=list)
    look_up_table: dict[str, Any] | None = None
    is_retired: bool = False
    """Whether it accepts no new values; its path and title remain reserved."""
    edited_at: dt.datetime = _EPOCH
    """UTC."""
    edited_by: str = ""

    @property
    def of_kind(self) -> Kind:
        """The kind of its values."""
        return find_kind(self.kind)

    @property
    def super_kind(self) -> str:
        """``I``, ``F`` or ``V``."""
        return self.of_kind.super_kind(store_in_database=self.store_in_database)

    @property
    def listing_rank(self) -> int:
        """Sort position in listings; sockets of equal position are sorted by slug."""
        return self.of_kind.listing_rank

    @property
    def is_reserved(self) -> bool:
        """Whether it cannot be chosen as input or output of algorithms."""
        return self.slug in reserved()

    @property
    def example(self) -> Any:
        """Example value: that of the socket, else of its kind; None if the kind is not JSON."""
        return EXAMPLES.get(self.kind) if self.example_value is None else self.example_value

    @property
    def needs_value(self) -> bool:
        """Whether a value must be provided; not for BOOL, or if null is a valid value."""
        if self.super_kind != "V":
            return True
        if self.kind == "BOOL":
            return False
        try:
            validate.require_valid(self.of_kind, self.schema, None)
        except ValueRefused:
            return True
        return False

    def serialized(self) -> dict[str, Any]:
        """Return the ten keys of a socket in Grand Challenge's API."""
        return {
            "title": self.title,
            "description": self.description,
            "slug": self.slug,
            "kind": self.of_kind.label,
            "pk": self.pk,
            "default_value": self.default_value,
            "super_kind": SUPER_KINDS[self.super_kind],
            "relative_path": self.relative_path,
            "overlay_segments": self.overlay_segments,
            "look_up_table": self.look_up_table,
        }


DEFAULTS_FILE = "sockets.csv"


@cache
def default_sockets() -> tuple[Socket, ...]:
    """Return the seven sockets that every warehouse has.

    The paths of the first two violate the current rules: no new socket may have them.
    """
    return tuple(
        Socket(
            slug=row["slug"], pk=int(row["pk"]), version=0, title=row["title"], description="",
            kind=row["kind"], relative_path=row["relative_path"],
            store_in_database=row["store_in_database"] == "true",
        )
        for row in _default_rows()
    )  # fmt: skip


@cache
def reserved() -> frozenset[str]:
    """Return the slugs that cannot be chosen as inputs and outputs of algorithms."""
    return frozenset(row["slug"] for row in _default_rows() if row["is_reserved"] == "true")


def _default_rows() -> list[dict[str, str]]:
    path = sql_folder() / "rules" / DEFAULTS_FILE
    return list(csv.DictReader(io.StringIO(read_text(path))))


_SETTABLE = frozenset(
    {
        "title", "description", "kind", "relative_path", "store_in_database", "schema",
        "default_value", "example_value", "overlay_segments", "look_up_table",
    }
)  # fmt: skip
FIXED = frozenset({"relative_path", "store_in_database"})
"""Fields that cannot be edited, as values and algorithms depend on them."""


def slug_of(title: str) -> str:
    """Convert a title to a slug for URLs.

    >>> slug_of("Lung nodule: volume (mm³)")
    'lung-nodule-volume-mm3'
    """
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode()
    return re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain.lower())).strip("-_")


def new_socket(
    given: Mapping[str, Any], known: Mapping[str, Socket], by: str = "", slug: str | None = None
) -> Socket:
    """Return a new socket with the given fields.

    Parameters
    ----------
    given
        ``title``, ``kind`` (code or label) and ``relative_path``; other fields are optional.
        ``store_in_database`` is true by default if the kind allows it.
    known
        The newest version of every existing socket, by slug.
    by
        Who creates it.
    slug
        Slug of a socket that comes from elsewhere; by default it is derived from the title.

    Raises
    ------
    SocketRefused, SchemaRefused, UnknownKind
    """
    _require_fields(given, _SETTABLE)
    missing = [name for name in ("title", "kind", "relative_path") if not given.get(name)]
    if missing:
        raise SocketRefused(missing[0], "is missing")
    kind = find_kind(given["kind"])
    slug = _free_slug(given["title"] if slug is None else slug, known)
    socket = Socket(
        slug=slug, pk=max((s.pk for s in known.values()), default=0) + 1, version=1,
        title=given["title"], description="", kind=kind.code, relative_path="",
        store_in_database=kind.may_be_in_database, edited_at=_now(), edited_by=by,
    )  # fmt: skip
    given = {**given, "kind": kind.code}
    socket = replace(socket, **given)
    paths.require_path(socket.relative_path, kind)
    # The two legacy paths are parents of all others.
    existing_paths = [
        s.relative_path for s in known.values() if s.relative_path not in {"", "images"}
    ]
    paths.require_apart(socket.relative_path, existing_paths)
    return _validated(socket, known)


def edited_socket(
    socket: Socket, changes: Mapping[str, Any], known: Mapping[str, Socket], *,
    is_used: bool, by: str = "",
) -> Socket:  # fmt: skip
    """Return the next version of a socket.

    Parameters
    ----------
    socket
        Its newest version.
    changes
        Fields to change, or ``is_retired``.
    known
        The newest version of every socket, by slug.
    is_used
        Whether it has values: then its kind is fixed, and overlay segments may only be added.
    by
        Who edits it.

    Raises
    ------
    SocketRefused, SchemaRefused, UnknownKind
    """
    _require_fields(changes, _SETTABLE | {"is_retired"})
    if socket.version == 0 and set(changes) != {"is_retired"}:
        raise SocketRefused(
            socket.slug, "is a default socket, which cannot be edited; create another one"
        )
    if "kind" in changes:
        changes = {**changes, "kind": find_kind(changes["kind"]).code}
    edited = replace(
        socket, **changes, version=socket.version + 1, edited_at=_now(), edited_by=by
    )  # fmt: skip
    for name in sorted(FIXED):
        if getattr(edited, name) != getattr(socket, name):
            raise SocketRefused(name, "cannot be changed once a socket exists; create another one")
    if edited.kind != socket.kind:
        if is_used:
            raise SocketRefused("kind", "cannot be changed while values of the socket exist")
        paths.require_path(edited.relative_path, edited.of_kind)
    others = {slug: other for slug, other in known.items() if slug != socket.slug}
    edited = _validated(edited, others)
    if is_used:
        overlays.require_extended(socket.overlay_segments, edited.overlay_segments)
    return edited


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC).replace(tzinfo=None)


def _require_fields(fields: Mapping[str, Any], allowed: frozenset[str]) -> None:
    unknown = set(fields) - allowed
    if unknown:
        raise SocketRefused(
            min(unknown), f"is not a field of sockets; fields are {', '.join(sorted(allowed))}"
        )
    texts = ("title", "description", "kind", "relative_path")
    invalid = [name for name in texts if not isinstance(fields.get(name, ""), str)]
    if invalid:
        raise SocketRefused(invalid[0], "has to be a text")
    flags = ("store_in_database", "is_retired")
    invalid = [name for name in flags if not isinstance(fields.get(name, True), bool)]
    if invalid:
        raise SocketRefused(invalid[0], "has to be true or false")


def _free_slug(title: str, known: Mapping[str, Socket]) -> str:
    """Return the slug of a title, with a number if it is taken."""
    slug = slug_of(title)
    if not slug:
        raise SocketRefused("title", "needs a Latin letter or a digit for the slug")
    free, number = slug, 2
    while free in known:
        free = f"{slug}-{number}"
        number += 1
    return free


def _validated(candidate: Socket, others: Mapping[str, Socket]) -> Socket:
    """Validate a socket; return it with overlay segments and look-up table normalized."""
    kind = candidate.of_kind
    if not candidate.title.strip() or len(candidate.title) > 255:
        raise SocketRefused("title", "needs 1 to 255 characters")
    titles = {socket.title for socket in others.values()}
    if candidate.title in titles:
        raise SocketRefused("title", "is that of another socket")
    if candidate.store_in_database and not kind.may_be_in_database:
        raise SocketRefused("store_in_database", f"has to be false for kind {kind.label}")
    segments = overlays.checked_segments(
        candidate.overlay_segments, is_segmentation=kind.code == "SEG"
    )  # fmt: skip
    table = (
        overlays.checked_table(candidate.look_up_table)
        if candidate.look_up_table is not None
        else None
    )
    if candidate.schema != {} and not kind.is_json:
        raise SocketRefused("schema", "is for kinds of JSON only")
    validate.require_schema(candidate.schema)
    candidate = replace(candidate, overlay_segments=segments, look_up_table=table)
    if candidate.default_value is not None:
        if candidate.super_kind != "V":
            raise SocketRefused("default_value", "is for values in the database only")
        _require_value(candidate, "default_value")
    if candidate.example_value is not None:
        if not kind.is_json:
            raise SocketRefused("example_value", "is for kinds of JSON only")
        _require_value(candidate, "example_value")
    return candidate


def _require_value(socket: Socket, name: str) -> None:
    try:
        value = json_text.parse(json_text.canonical(getattr(socket, name)).encode())
        validate.require_valid(socket.of_kind, socket.schema, value)
    except ValueRefused as error:
        where = "" if error.path == "$" else f" at {error.path}"
        raise SocketRefused(name, f"is not valid{where}: {error.why}") from None
