"""Compare duplicate files with the files that hold their instances.

In: a catalog. Out: ``Compared``, one per duplicate. Rows of duplicates are not stored, so both
files are read again, one pair at a time: their headers with the readers of the ingest, their pixel
data as bytes. The view ``duplicates`` has the facts that need no reading.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydicom.uid import DeflatedExplicitVRLittleEndian

from warehouse.dicom.element import PIXEL_TAGS, join_path
from warehouse.dicom.open import open_source
from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import extract
from warehouse.errors import Rejected, Unreachable
from warehouse.inputs import require_limit
from warehouse.planned import listed_again
from warehouse.settings import IngestSettings, S3Access

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from warehouse.catalog.connect import Catalog
    from warehouse.elements.extract import Outcome

_PAIRS = "select file_path, held_by, instance_key from duplicates order by file_path limit $1"
_VALUE = ("text", "integer", "real", "date", "time_us", "timestamp", "sha256")
_PADDING = "FFFCFFFC"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Compared:
    """Comparison of a duplicate with the file that holds its instance."""

    path: str
    held_by: str
    instance_key: str
    verdict: str
    """``same`` (header and pixels), ``same header``, ``same pixels``, ``differs``, ``unknown``."""
    differs_in: tuple[str, ...] = ()
    """Paths of elements that differ or that one file lacks, possibly including ``PixelData``."""
    why_not: str | None = None
    """Why headers or pixels could not be compared."""


def compare_duplicates(
    catalog: Catalog, *, limit: int | None = None, s3: S3Access | None = None
) -> Iterator[Compared]:
    """Read each duplicate and the file that holds its instance, and compare them.

    Headers are equal if all elements are equal, except file meta information, group lengths and
    padding, which depend on how a file was written. Pixel data are equal if their bytes are equal;
    they are not compared if the transfer syntaxes differ or the data set is deflated.

    Parameters
    ----------
    catalog
        Open catalog.
    limit
        Largest number of duplicates to compare, ordered by path; None for all.
    s3
        Access to files in buckets.
    """
    require_limit(limit)
    settings = IngestSettings(s3=s3 or S3Access())
    pairs = catalog.connection.execute(_PAIRS, [1 << 62 if limit is None else limit]).fetchall()
    for path, held_by, key in pairs:
        found = {item.path: item for item in listed_again([path, held_by], settings)}
        pair = [found.get(path), found.get(held_by)]
        sources = [item for item in pair if isinstance(item, SourceFile)]
        if len(sources) < 2:
            yield Compared(path, held_by, key, "unknown", why_not="a file is no longer there")
            continue
        yield _compared(sources, path, held_by, key)


def _compared(sources: list[SourceFile], path: str, held_by: str, key: str) -> Compared:
    headers: list[dict[str, list[tuple[object, ...]]]] = []
    outcomes: list[Outcome] = []
    for source in sources:
        portions = list(extract([source], 0, 1 << 30))
        outcomes += portions[-1].outcomes
        headers.append({})
        for portion in portions:
            _add(headers[-1], portion.rows)
    if any(outcome.instance_id is None for outcome in outcomes):
        why = next(outcome.reason for outcome in outcomes if outcome.instance_id is None)
        return Compared(path, held_by, key, "unknown", why_not=f"a file is read no more: {why}")
    one, other = headers
    places = tuple(sorted(p for p in one.keys() | other.keys() if one.get(p) != other.get(p)))
    same_pixels, why_not = _same_pixels(outcomes)
    if same_pixels is False:
        places += ("PixelData",)
    same_header = places in {(), ("PixelData",)}
    if same_pixels is None:
        verdict = "same header" if same_header else "differs"
    elif same_pixels:
        verdict = "same" if same_header else "same pixels"
    else:
        verdict = "same header" if same_header else "differs"
    return Compared(path, held_by, key, verdict, places, why_not)


def _add(header: dict[str, list[tuple[object, ...]]], rows: pa.Table) -> None:
    """Collect the values of each element by its path."""
    for row in rows.select(["path", "tag", "keyword", "vm", *_VALUE]).to_pylist():
        tag = row["tag"]
        if tag[:4] == "0002" or tag[4:] == "0000" or tag == _PADDING:
            continue
        if tag in PIXEL_TAGS and not row["path"]:
            continue
        place = join_path(row["path"], row["keyword"] or tag)
        # As text, NaN is equal to NaN.
        value = tuple(repr(row[name]) for name in _VALUE)
        header.setdefault(place, []).append((row["vm"], *value))


def _same_pixels(outcomes: list[Outcome]) -> tuple[bool | None, str | None]:
    """Return whether the bytes of the pixel data are equal; None and a reason if unknown."""
    places = [outcome.pixels for outcome in outcomes]
    if places == [None, None]:
        return True, None
    if None in places:
        return False, None
    syntaxes = {outcome.transfer_syntax for outcome in outcomes}
    if len(syntaxes) > 1:
        return None, "pixels are in two transfer syntaxes: not compared"
    if DeflatedExplicitVRLittleEndian in syntaxes:
        return None, "pixels are deflated: not compared"
    if len({place.length for place in places if place}) > 1:
        return False, None
    try:
        digests = {_digest(outcome) for outcome in outcomes}
    except (Rejected, Unreachable) as error:
        return None, f"pixels cannot be read: {error}"
    return len(digests) == 1, None


def _digest(outcome: Outcome) -> bytes:
    assert outcome.pixels is not None
    digest = hashlib.sha256()
    left = outcome.pixels.length
    with open_source(outcome.source) as file:
        file.seek(outcome.pixels.offset)
        while left > 0 and (block := file.read(min(left, _BLOCK))):
            digest.update(block)
            left -= len(block)
    return digest.digest()
