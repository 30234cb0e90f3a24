"""Open a long binary value by its digest, from ``blobs`` or from a source file.

In: a catalog and a SHA-256 from ``elements``. Out: an open file. A value is not in ``blobs`` if it
exceeds ``Limits.value_bytes`` or was ingested without blobs. Such a value is read from its source
file on request, and returned only if its digest is correct.
"""

from __future__ import annotations

import hashlib
import io
import tempfile
from dataclasses import replace
from typing import IO, TYPE_CHECKING

from warehouse.dicom.open import open_source
from warehouse.dicom.reference import read_header_from
from warehouse.dicom.scan import SourceFile
from warehouse.dicom.watched import LongValue
from warehouse.errors import Rejected, ValueNotFound
from warehouse.planned import listed_again
from warehouse.settings import DEFAULT_LIMITS, IngestSettings, Limits, S3Access

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.catalog.connect import Catalog

SPOOL_BYTES = 32 << 20
"""Values longer than this, if copied from a source file, are buffered in a temporary file."""

_KEPT = "select bytes from blobs where sha256 = $1"
_INLINE = "select bytes from elements where sha256 = $1 and bytes is not null limit 1"
_HOLDERS = (
    "select distinct file_path, length from elements join files using (instance_id) "
    "where sha256 = $1 and status = 'ingested' order by file_path"
)


def open_value(
    catalog: Catalog, sha256: str, *, s3: S3Access | None = None, limits: Limits = DEFAULT_LIMITS
) -> IO[bytes]:
    """Open the bytes of a binary value, as written in its file, for reading and seeking.

    A value from ``blobs`` is in memory. Any other is copied from its source file, 1 MiB at a time;
    if it is longer than 32 MiB, into a temporary file that is deleted on close.

    Parameters
    ----------
    catalog
        Open catalog.
    sha256
        Digest of the value: column ``sha256`` of ``elements``.
    s3
        Access to files in buckets.
    limits
        Limits for reading the source file of the value.

    Raises
    ------
    ValueNotFound
        No element has this digest, or no source file has these bytes any more.
    """
    for query in (_KEPT, _INLINE):
        # Fetch all rows: the connection of a thread runs one query at a time.
        if found := catalog.connection.execute(query, [sha256]).fetchall():
            return io.BytesIO(found[0][0])
    paths = dict(catalog.connection.execute(_HOLDERS, [sha256]).fetchall())
    if not paths:
        raise ValueNotFound(sha256, "no element of this version has it")
    settings = IngestSettings(s3=s3 or S3Access())
    for source in _there(list(paths), settings):
        # Copy only values that have a digest, as all long values do.
        target = tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES)  # noqa: SIM115 - returned
        wanted = LongValue(sha256, paths[source.path], target)
        try:
            if _copied(source, wanted, replace(limits, value_bytes=1)):
                target.seek(0)
                return target
        except Rejected:
            pass
        target.close()
    raise ValueNotFound(
        sha256, "no file has these bytes any more; mount its source, or ingest again"
    )


def _there(paths: list[str], settings: IngestSettings) -> Iterator[SourceFile]:
    for path in paths:
        yield from (item for item in listed_again([path], settings) if isinstance(item, SourceFile))


def _copied(source: SourceFile, wanted: LongValue, limits: Limits) -> bool:
    """Copy a value from a source file; return whether it was found."""
    with open_source(source) as file:
        header = read_header_from(file, limits, wanted)
    if wanted.is_found:
        return True
    # Short values, and values in sequences.
    for element in header.elements:
        raw = element.raw
        if raw is None or len(raw) != wanted.length:
            continue
        if hashlib.sha256(raw).hexdigest() == wanted.sha256:
            wanted.target.write(raw)
            return True
    return False
