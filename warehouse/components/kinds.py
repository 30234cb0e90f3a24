"""The 40 kinds of sockets, read from ``sql/rules/kinds.csv``.

In: a code such as ``MPOL``, or its label. Out: ``Kind``. The view ``kinds`` is the same table.
``groups`` has the groups of kinds by their names in Grand Challenge's ``components.models``, and
``InterfaceKind`` by those in its older edition: ``InterfaceKind.interface_type_json()``.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from functools import cache

from warehouse.errors import UnknownKind
from warehouse.inputs import read_text
from warehouse.sqlfiles import sql_folder

FILE = "kinds.csv"

SUPER_KINDS = {"I": "Image", "F": "File", "V": "Value"}
"""Code → label of a super kind: an image, a file, or a value in the table."""


@dataclass(frozen=True, slots=True)
class Kind:
    """Kind of the values of a socket."""

    code: str
    label: str
    family: str
    """``json``, ``image`` or ``file``."""
    extension: str
    """Suffix of the relative path of a socket; empty for images."""
    upload_types: tuple[str, ...]
    """Media types and suffixes that an upload may have; empty for images."""
    may_be_in_database: bool
    """Whether values may be stored in the table itself."""
    is_shown_alone: bool
    """Mandatory isolation: never shown together with others."""
    is_undisplayable: bool
    is_previewable: bool
    """Whether a value in the table is short enough to be shown in a list."""
    is_thumbnail: bool
    is_panimg: bool
    """Whether it is an image in a file, rather than a DICOM image set."""
    in_old_edition: bool
    item_kind: str
    """Kind of one item of a Multiple* annotation; else empty."""
    items_key: str
    """Key of the list of items of a Multiple* annotation; else empty."""

    @property
    def is_json(self) -> bool:
        """Whether values are JSON."""
        return self.family == "json"

    @property
    def is_image(self) -> bool:
        """Whether values are images."""
        return self.family == "image"

    @property
    def is_annotation(self) -> bool:
        """Whether values hold shapes, which are rows of ``annotations``."""
        return self.shape_kind in SHAPE_KINDS

    @property
    def shape_kind(self) -> str:
        """Code of the kind of each shape: its own, or that of its items."""
        return self.item_kind or self.code

    @property
    def listing_rank(self) -> int:
        """Sort position in listings: JSON, thumbnails, charts, other files, images."""
        if self.code == "CHART":
            return 3
        if self.is_thumbnail:
            return 2
        return {"json": 1, "file": 4, "image": 5}[self.family]

    def super_kind(self, *, store_in_database: bool) -> str:
        """Return the code of the super kind: ``I``, ``F`` or ``V``.

        >>> find_kind("INT").super_kind(store_in_database=False)
        'F'
        """
        if self.is_image:
            return "I"
        return "V" if self.is_json and store_in_database else "F"


SHAPE_KINDS = ("2DBB", "DIST", "POIN", "POLY", "LINE", "ANGL", "ELLI", "3ANG")
"""Kinds of a single shape; each of the eight Multiple* kinds is a list of one of them."""


@cache
def kinds() -> dict[str, Kind]:
    """Return every kind by its code, in the order of the table."""
    path = sql_folder() / "rules" / FILE
    by_code = {}
    for row in csv.DictReader(io.StringIO(read_text(path))):
        flags = {name: row[name] == "true" for name in _FLAGS}
        by_code[row["code"]] = Kind(
            code=row["code"], label=row["label"], family=row["family"],
            extension=row["extension"],
            upload_types=tuple(filter(None, row["upload_types"].split("|"))),
            item_kind=row["item_kind"], items_key=row["items_key"], **flags,
        )  # fmt: skip
    return by_code


_FLAGS = (
    "may_be_in_database", "is_shown_alone", "is_undisplayable", "is_previewable", "is_thumbnail",
    "is_panimg", "in_old_edition",
)  # fmt: skip


def find_kind(name: str) -> Kind:
    """Return a kind by its code or label, in any case.

    Raises
    ------
    UnknownKind

    Examples
    --------
    >>> find_kind("multiple polygons").code
    'MPOL'
    """
    wanted = name.strip().casefold()
    for kind in kinds().values():
        if wanted in {kind.code.casefold(), kind.label.casefold()}:
            return kind
    raise UnknownKind(name, list(kinds()))


def _codes_where(**conditions: object) -> frozenset[str]:
    return frozenset(
        code
        for code, kind in kinds().items()
        if all(getattr(kind, name) == value for name, value in conditions.items())
    )


@cache
def groups() -> dict[str, frozenset[str]]:
    """Return the groups of kinds: name in the newer edition → codes.

    >>> sorted(groups()["undisplayable"])
    ['BIOM', 'CSV', 'NEWCK', 'OBJ', 'ZIP']
    """
    return {
        "json": _codes_where(family="json"),
        "image": _codes_where(family="image"),
        "file": _codes_where(family="file"),
        "mandatory_isolation": _codes_where(is_shown_alone=True),
        "undisplayable": _codes_where(is_undisplayable=True),
        "panimg": _codes_where(is_panimg=True),
    }


class InterfaceKind:
    """Groups of kinds by their names in the older edition, which has 39 kinds.

    >>> len(InterfaceKind.interface_type_image())
    4
    """

    @staticmethod
    def _old(group: str) -> frozenset[str]:
        return groups()[group] & _codes_where(in_old_edition=True)

    @staticmethod
    def interface_type_json() -> frozenset[str]:
        """Return the kinds that are JSON."""
        return InterfaceKind._old("json")

    @staticmethod
    def interface_type_image() -> frozenset[str]:
        """Return the kinds that are images; that edition has no DICOM image set."""
        return InterfaceKind._old("image")

    @staticmethod
    def interface_type_file() -> frozenset[str]:
        """Return the kinds that are files but not JSON."""
        return InterfaceKind._old("file")

    @staticmethod
    def interface_type_mandatory_isolation() -> frozenset[str]:
        """Return the kinds that are shown alone."""
        return InterfaceKind._old("mandatory_isolation")

    @staticmethod
    def interface_type_undisplayable() -> frozenset[str]:
        """Return the kinds that are not shown."""
        return InterfaceKind._old("undisplayable")
