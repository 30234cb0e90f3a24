"""The functions ``warehouse.open`` and ``warehouse.header``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from warehouse.api import Warehouse
from warehouse.dicom.objects import is_object
from warehouse.errors import NotAWarehouse, StoreError
from warehouse.given import checked
from warehouse.publishing import Location
from warehouse.settings import S3Access
from warehouse.store.marker import require
from warehouse.store.mirror import open_mirror

if TYPE_CHECKING:
    from warehouse.catalog.header import Header


@checked
def header(path: str | os.PathLike[str]) -> Header:
    """Read the header of any DICOM file; no warehouse is needed.

    Parameters
    ----------
    path
        DICOM file.

    Returns
    -------
    Header
        All elements except pixel data.

    Raises
    ------
    UsageError
        The file does not exist, is not DICOM, or is damaged.
    """
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
        Folder, or ``s3://bucket/prefix``. A warehouse in a bucket is mirrored in a local folder,
        see ``warehouse.store.mirror``; credentials are taken from the environment.
    create
        Accept a folder without a warehouse; the first ingest creates it.
    version
        Older version to open, read-only; by default the newest.

    Returns
    -------
    Warehouse

    Raises
    ------
    NotAWarehouse
        The folder has no warehouse, and ``create`` is false.
    UnknownVersion
        The version never existed, or its files were vacuumed.

    Examples
    --------
    >>> import warehouse
    >>> warehouse.open("my-warehouse").version
    1
    """
    mirror = (
        open_mirror(str(root), S3Access.from_variables(os.environ)) if is_object(root) else None
    )
    found = mirror.root if mirror else Path(os.path.abspath(root))
    opened = Warehouse(Location(found, mirror, version))
    try:
        if not create:
            require(found)
        if version is not None:
            _ = opened.catalog
    except StoreError as error:
        opened.close()
        if isinstance(error, NotAWarehouse) and mirror:
            raise NotAWarehouse(
                mirror.url, "there is none; with create=True an ingest creates it"
            ) from None
        if isinstance(error, NotAWarehouse) and not os.path.exists(found):
            raise NotAWarehouse(
                found, "it does not exist; with create=True the first ingest creates it"
            ) from None
        raise
    return opened
