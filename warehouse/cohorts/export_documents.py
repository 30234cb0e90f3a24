"""Export the encapsulated documents of the members of a run: PDF, CDA, STL, OBJ, MTL.

In: a run. Out: a folder of documents, ``documents.csv`` with attributes of each, ``manifest.csv``
with the sha256 of each, and ``cohort.json``. The suffix of a file name is looked up by MIME type,
and used only if the content begins like a document of that type; it is never copied from a file.
"""

from __future__ import annotations

import csv
import hashlib
import io
import os
from dataclasses import asdict, dataclass, fields
from typing import IO, TYPE_CHECKING, Any

from warehouse.catalog.long_values import open_value
from warehouse.cohorts.members import members_of
from warehouse.cohorts.names import TEMPLATE, check_template, fill
from warehouse.cohorts.provenance import (
    ABOUT,
    DOCUMENTS,
    MANIFEST,
    MANIFEST_FIELDS,
    provenance,
    sha256_of,
    text,
)
from warehouse.errors import ExportFailed, TargetExists, ValueNotFound
from warehouse.outputs import draft_of, refuse_existing
from warehouse.settings import S3Access
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.catalog.connect import Catalog
    from warehouse.cohorts.runs import Run

LISTING = "documents.csv"
OTHER = "bin"
_CHUNK = 1 << 20
_BEGIN = 1024
"""PDF readers search this many bytes for the PDF header."""


def _is_pdf(begin: bytes) -> bool:
    return b"%PDF-" in begin


def _is_xml(begin: bytes) -> bool:
    return begin.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<")


def _is_text(begin: bytes) -> bool:
    return b"\0" not in begin


def _is_stl(begin: bytes) -> bool:
    return begin.startswith(b"solid") or len(begin) >= 84  # 80 arbitrary bytes and a count


_ENDINGS: dict[str, tuple[str, Callable[[bytes], bool]]] = {
    "application/pdf": ("pdf", _is_pdf),
    "text/xml": ("xml", _is_xml),
    "application/xml": ("xml", _is_xml),
    "model/stl": ("stl", _is_stl),
    "application/sla": ("stl", _is_stl),
    "model/obj": ("obj", _is_text),
    "model/mtl": ("mtl", _is_text),
}
"""MIME type, in lower case and without parameters → suffix, and a check of the first bytes."""


@dataclass(frozen=True, slots=True)
class Document:
    """A row of ``documents.csv``: a document, or a member without one."""

    name: str
    """File name in the folder; empty if there is no file."""
    SOPInstanceUID: str
    SOPClassUID: str
    MIMETypeOfEncapsulatedDocument: str
    """As stated in the object."""
    size_bytes: int
    """Size of the file."""
    value_sha256: str
    """Digest of the value in the object, including the padding byte of a value of odd length."""
    warning: str
    """An inconsistency, such as a MIME type that does not match the content."""
    why_not: str
    """Reason why there is no file."""


def export_documents(
    root: Path, run: Run, target: Path, *, template: str = TEMPLATE, s3: S3Access | None = None
) -> dict[str, Any]:
    """Write the encapsulated documents of the members of a run; return the provenance.

    Each document is copied and hashed 1 MiB at a time. A padding byte that is not counted by
    Encapsulated Document Length is left out.

    Parameters
    ----------
    root
        Folder of the warehouse.
    run
        The run to export; members without a document are left out.
    target
        Folder that does not exist yet.
    template
        File name template; see ``warehouse.cohorts.names``. The suffix is that of the document type
        (pdf, xml, stl, obj, mtl), or bin if MIME type and content do not agree on one of these.
    s3
        Access to sources in buckets.

    Raises
    ------
    TargetExists, UsageError
    ExportFailed
        No member has a document, a source is missing or has changed, or the disk is full; partial
        output is deleted.
    """
    check_template(template)
    if os.path.lexists(target):
        raise TargetExists(target)
    refuse_existing(target)
    catalog = members_of(root, run)
    facts = provenance(run, DOCUMENTS, catalog.snapshot.version)
    names = _names(catalog)
    with draft_of(target) as draft:
        draft.mkdir()
        written, manifest = [], io.StringIO()
        rows = csv.writer(manifest, lineterminator="\n")
        rows.writerow(MANIFEST_FIELDS)
        for row in catalog.connection.sql(statement("documents", "runs")).pl().to_dicts():
            key = row["instance_key"]
            document, sha256 = _written(catalog, draft, row, fill(template, names[key]), s3)
            written.append(document)
            if document.name:
                rows.writerow((document.name, key, document.size_bytes, sha256, ""))
        if not any(one.name for one in written):
            why = f"{len(written)} members should have a document, and none does"
            raise ExportFailed(run.run, why if written else "no member has a document")
        _list(draft / LISTING, written)
        (draft / MANIFEST).write_text(manifest.getvalue(), encoding="utf-8", newline="")
        facts["manifest_sha256"] = sha256_of(draft / MANIFEST)
        facts["beside"] = {LISTING: sha256_of(draft / LISTING)}
        facts["documents"] = {
            "documents_written": sum(bool(one.name) for one in written),
            "documents_missing": sum(not one.name for one in written),
        }
        (draft / ABOUT).write_text(text(facts), encoding="utf-8", newline="")
        if os.path.lexists(target):
            raise TargetExists(target)
        draft.rename(target)
    return facts


def _names(catalog: Catalog) -> dict[str, dict[str, str]]:
    """Return the attributes for the name template, for each member with a document."""
    sources, documents = statement("sources", "runs"), statement("documents", "runs")
    sql = f"select * from ({sources}) semi join ({documents}) using (instance_key)"
    rows = catalog.connection.sql(sql).pl().drop("path", "size_bytes", "modified_at").to_dicts()
    return {row["instance_key"]: {key: str(one) for key, one in row.items()} for row in rows}


def _written(
    catalog: Catalog, folder: Path, row: dict[str, Any], name: str, s3: S3Access | None
) -> tuple[Document, str]:
    """Write one document; return its row and the digest of the file."""
    mime_type = row["mime_type"] or ""
    known = (row["instance_key"], row["SOPClassUID"] or "", mime_type)
    if row["why_not"]:
        return Document("", *known, 0, "", "", row["why_not"]), ""
    try:
        value = open_value(catalog, row["sha256"], s3=s3 or S3Access())
    except ValueNotFound as error:
        why = f"its document cannot be read: {error}"
        raise ExportFailed(row["instance_key"], why) from error
    with value:
        length, stated = row["length"], row["stated_length"]
        size = stated if stated is not None and 0 <= length - stated <= 1 else length
        begin = value.read(min(_BEGIN, size))
        value.seek(0)
        ending, warnings = _ending(mime_type, begin)
        name = f"{name.removesuffix('.dcm')}.{ending}"
        if stated is not None and size != stated:
            warnings.append("Encapsulated Document Length is not that of the document")
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                sha256, whole = _copied(value, file, size)
        except OSError as error:  # a full disk; the source is not the cause
            raise ExportFailed(name, error.strerror or str(error)) from error
    if whole != row["sha256"]:
        raise ExportFailed(row["instance_key"], "its document is not the one that was ingested")
    return Document(name, *known, size, whole, "; ".join(warnings), ""), sha256


def _ending(mime_type: str, begin: bytes) -> tuple[str, list[str]]:
    known = _ENDINGS.get(mime_type.partition(";")[0].strip().lower())
    if known is None:
        return OTHER, ["its MIME type is none of a document that is known"]
    ending, may_be = known
    if not may_be(begin):
        return OTHER, ["it does not begin as its MIME type says"]
    return ending, []


def _copied(value: IO[bytes], file: IO[bytes], size: int) -> tuple[str, str]:
    """Copy ``size`` bytes; return their digest and the digest of the whole value."""
    digest, left = hashlib.sha256(), size
    while left and (chunk := value.read(min(_CHUNK, left))):
        digest.update(chunk)
        file.write(chunk)
        left -= len(chunk)
    whole = digest.copy()
    whole.update(value.read())  # at most the padding byte
    return digest.hexdigest(), whole.hexdigest()


def _list(path: Path, documents: list[Document]) -> None:
    with path.open("x", encoding="utf-8", newline="") as file:
        rows = csv.DictWriter(file, [one.name for one in fields(Document)], lineterminator="\n")
        rows.writeheader()
        rows.writerows(asdict(one) for one in documents)
