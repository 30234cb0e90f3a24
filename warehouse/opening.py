"""``warehouse.open`` and ``warehouse.header``: from a name to an object."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.api import Warehouse
from warehouse.dicom.objects import is_object
from warehouse.errors import NotAWarehouse, StoreError
from warehouse.given import checked
from warehouse.publishing import Place
from warehouse.settings import S3Access
from warehouse.store.marker import require
from warehouse.store.mirror import open_mirror

if TYPE_CHECKING:
    from warehouse.catalog.header import Header


@checked
def header(path: str | os.PathLike[str]) -> Header:
    """Return the header of a DICOM file that need not be in any warehouse."""
    from warehouse.catalog.header_rows import header_of_file

    return header_of_file(path)


@checked
def open(  # noqa: A001 - warehouse.open reads as it is
    root: str | os.PathLike[str], *, create: bool = False, version: int | None = None
) -> Warehouse:
    """Open a warehouse.

    Parameters
    ----------
    root
        Folder, or ``s3://bucket/prefix``, which is worked with in a folder of this machine, see
        ``warehouse.store.mirror``; keys are taken from the environment.
    create
        Take a place where no warehouse is yet; the first ingest makes one there.
    version
        An older version, to be asked and not to be changed; by default the newest.

    Raises
    ------
    NotAWarehouse
        There is none, and ``create`` does not ask for one.
    UnknownVersion
        There is no such version, or no longer.
    """
    mirror = (
        open_mirror(str(root), S3Access.from_variables(os.environ)) if is_object(root) else None
    )
    found = mirror.root if mirror else Path(os.path.abspath(root))
    opened = Warehouse(Place(found, mirror, version))
    try:
        if not create:
            require(found)
        if version is not None:
            _ = opened.catalog
    except StoreError as error:
        opened.close()
        if isinstance(error, NotAWarehouse) and mirror:
            raise NotAWarehouse(
                mirror.url, "there is none; create=True lets an ingest make it"
            ) from None
        if isinstance(error, NotAWarehouse) and not os.path.exists(found):
            raise NotAWarehouse(
                found, "it does not exist; create=True lets the first ingest make it"
            ) from None
        raise
    return opened
