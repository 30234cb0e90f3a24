"""Tombstones: forgotten entities, as keyed digests.

In: the folder of a warehouse. Out: ``Receipt`` and ``Tombstones``. A forgotten patient, study,
series or instance is recognized by the HMAC-SHA256 of its identifier with a key of this warehouse,
and each of its files by the HMAC-SHA256 of path, size and time::

    my-warehouse/_forgotten/
    ├── key             32 random bytes, mode 0600
    └── 000001.json     a receipt without identifiers, and the digests of the forgotten entity
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import uuid
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.errors import StoreDamaged, WriteFailed
from warehouse.store.making import reach_disk
from warehouse.store.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    import duckdb

FOLDER = "_forgotten"
LEVELS = ("patient", "study", "series", "instance")

_LISTED = {
    "00100020": "patient", "0020000D": "study", "0020000E": "series", "00041511": "instance"
}  # fmt: skip
"""Element of a directory record → level of the entity it identifies."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """Result of an erasure, without identifiers."""

    number: str
    level: str
    """patient, study, series or instance."""
    state: str
    """``begun``, ``done``, or ``allowed`` (may be ingested again)."""
    begun_at: str
    """Start time, UTC."""
    done_at: str = ""
    version: int = 0
    """First version of the warehouse without the entity."""
    entities: dict[str, int] = field(default_factory=dict)
    """Level → number of entities erased completely."""
    files: int = 0
    """Source files whose rows were erased."""
    still_named: int = 0
    """Number of elements in remaining instances that contain its identifier, such as references.
    They belong to headers of files that are not forgotten."""
    rows: dict[str, int] = field(default_factory=dict)
    """Table → number of erased rows."""
    deleted: list[str] = field(default_factory=list)
    """Deleted files of the warehouse, including those of older versions."""
    deleted_bytes: int = 0
    runs: dict[str, int] = field(default_factory=dict)
    """Run of a cohort → number of members erased from it; the run keeps its old digest."""
    questions: int = 0
    """Number of saved cohorts and runs whose SQL or parameters contained an erased identifier."""


@dataclass(frozen=True, slots=True)
class Tombstone:
    """A receipt and its digests."""

    receipt: Receipt
    asked: str
    files: list[str]
    names: list[str]
    """Digests of identifiers; kept until they have been removed from runs and saved cohorts."""


@dataclass(frozen=True, slots=True)
class Tombstones:
    """Digests of all entities and files that an ingest must not store."""

    key: bytes
    asked: frozenset[str]
    files: frozenset[str]

    def named(self, level: str, identifier: str | None) -> str | None:
        """Return the digest of an entity if it was forgotten."""
        if identifier is None:
            return None
        found = digest(self.key, level, identifier)
        return found if found in self.asked else None

    def has_file(self, path: str, size: int | None, modified_us: int | None) -> bool:
        """Return whether a file of this path, size and time was forgotten."""
        return file_digest(self.key, path, size, modified_us) in self.files


def digest(key: bytes, kind: str, *texts: str) -> str:
    """Return the first 32 hex digits of an HMAC-SHA256.

    >>> digest(bytes(32), "patient", "1") != digest(bytes(32), "study", "1")
    True
    """
    text = "\0".join((kind, *texts)).encode("utf-8", "surrogatepass")
    return hmac.digest(key, text, "sha256").hex()[:32]


def file_digest(key: bytes, path: str, size: int | None, modified_us: int | None) -> str:
    """Return the keyed digest of path, size and time; a new file may have the same path."""
    return digest(key, "file", path, str(size), str(modified_us))


def warehouse_key(root: Path) -> bytes:
    """Return the key of a warehouse, which the first call creates.

    Raises
    ------
    StoreDamaged
        It is missing or truncated, so forgotten entities would be ingested again.
    """
    path = root / FOLDER / "key"
    try:
        if not path.exists():
            if any((root / FOLDER).glob("*.json")):
                raise StoreDamaged(root, f"{FOLDER}/key is missing", "restore it from a backup")
            (root / FOLDER).mkdir(exist_ok=True)
            draft = path.with_name(f".{uuid.uuid4().hex}")
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(descriptor, "wb") as file:
                file.write(secrets.token_bytes(32))
            try:
                os.link(draft, path)
            except FileExistsError:
                pass
            finally:
                draft.unlink()
            reach_disk([path])
        found = path.read_bytes()
    except OSError as error:
        raise WriteFailed(f"the key in {FOLDER}", error) from error
    if len(found) != 32:
        raise StoreDamaged(root, f"{FOLDER}/key is truncated", "restore it from a backup")
    return found


def tombstones(root: Path) -> Tombstones | None:
    """Return the digests of everything forgotten; None if there are no tombstones."""
    found = [stone for stone in read_all(root) if stone.receipt.state != "allowed"]
    if not found:
        return None
    return Tombstones(
        warehouse_key(root),
        frozenset(stone.asked for stone in found),
        frozenset(file for stone in found for file in stone.files),
    )


def read_all(root: Path) -> list[Tombstone]:
    """Return every tombstone, oldest first.

    Raises
    ------
    StoreDamaged
        One cannot be read, so forgotten entities would be ingested again.
    """
    stones = []
    for path in sorted((root / FOLDER).glob("[0-9]*.json")):
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            stones.append(
                Tombstone(
                    Receipt(**document["receipt"]),
                    document["asked"],
                    document["files"],
                    document["names"],
                )
            )
        except (OSError, ValueError, TypeError, KeyError):
            raise StoreDamaged(
                root, f"{path.relative_to(root)} cannot be read", "restore it from a backup"
            ) from None
    return stones


def write(root: Path, stone: Tombstone) -> None:
    """Write a tombstone atomically.

    Raises
    ------
    WriteFailed
    """
    path = root / FOLDER / f"{stone.receipt.number}.json"
    what = f"{FOLDER}/{path.name}"
    try:
        path.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise WriteFailed(what, error) from error
    write_whole(path, (json.dumps(asdict(stone), indent=1) + "\n").encode(), what, lasts=True)


def next_number(root: Path) -> str:
    """Return the number of the next receipt."""
    return f"{max((int(stone.receipt.number) for stone in read_all(root)), default=0) + 1:06d}"


def mark_forgotten(
    root: Path, files: pa.Table, instances: pa.Table, elements: Iterable[Path]
) -> pa.Table:
    """Set the status of staged files of forgotten entities to ``forgotten``; drop identifiers.

    The digests of these files are added to a tombstone, so that the next ingest does not read them.

    Parameters
    ----------
    files
        ``FILES``, with identifiers.
    instances
        Rows of ``instances`` of these files.
    elements
        Staged parts with their elements, which include the entries of DICOMDIRs.
    """
    stones = tombstones(root)
    if stones is None:
        return files
    gone: dict[int, set[str]] = {}
    for level in LEVELS:
        column = instances[f"{level}_key"]
        for key in column.unique().to_pylist():
            if (asked := stones.named(level, key)) is not None:
                is_held = pc.equal(column, pa.scalar(key, column.type))
                for instance_id in instances["instance_id"].filter(is_held).to_pylist():
                    gone.setdefault(instance_id, set()).add(asked)
    directories = instances.filter(pc.is_null(instances["patient_key"]))["instance_id"]
    for instance_id, asked in _listing_any(stones, elements, directories.to_pylist()):
        gone.setdefault(instance_id, set()).add(asked)
    if not gone:
        return files
    is_gone = pc.is_in(files["instance_id"], pa.array(sorted(gone), pa.int64()))
    _note_files(root, stones.key, files.filter(is_gone), gone)
    for name, value in (("status", "forgotten"), ("instance_key", None)):
        place = files.schema.get_field_index(name)
        kind = files.schema.field(name)
        column = pc.if_else(is_gone, pa.scalar(value, kind.type), files[name])
        files = files.set_column(place, kind, column)
    return files


def _listing_any(
    stones: Tombstones, elements: Iterable[Path], directories: list[int]
) -> Iterator[tuple[int, str]]:
    """Yield the ids of DICOMDIRs that list a forgotten entity, with the digest of the entity."""
    if not directories:
        return
    asked = [("instance_id", "in", directories), ("tag", "in", list(_LISTED))]
    for part in elements:
        rows = pq.read_table(part, columns=["instance_id", "tag", "path", "text"], filters=asked)
        # All values of an element are its identifier, and rows are in their order.
        values: dict[tuple[int, str, str], list[str]] = {}
        for row in rows.to_pylist():
            place = row["instance_id"], row["tag"], row["path"]
            values.setdefault(place, []).append((row["text"] or "").strip())
        for (instance_id, tag, _), texts in values.items():
            name = stones.named(_LISTED[tag], "\\".join(texts))
            if name is not None:
                yield instance_id, name


def _note_files(root: Path, key: bytes, files: pa.Table, gone: Mapping[int, set[str]]) -> None:
    """Add the digest of each file to the newest tombstone of an entity that it belongs to.

    In another tombstone it would keep the file out after its own entity was allowed again.

    Parameters
    ----------
    gone
        instance_id of each file → digests of its forgotten entities.
    """
    times = files["modified_at"].cast(pa.int64()).to_pylist()
    columns = (files[name].to_pylist() for name in ("instance_id", "path", "size_bytes"))
    left = {
        instance_id: file_digest(key, *row)
        for instance_id, *row in zip(*columns, times, strict=True)
    }
    for stone in reversed(read_all(root)):
        if stone.receipt.state == "allowed":
            continue
        own = [instance_id for instance_id in left if stone.asked in gone[instance_id]]
        if own:
            found = {left.pop(instance_id) for instance_id in own}
            write(root, replace(stone, files=sorted({*stone.files, *found})))


def drop_forgotten(listing: duckdb.DuckDBPyConnection, root: Path) -> None:
    """Move forgotten files from ``unseen`` to the table ``forgotten``.

    A file whose path has a row, of other content, is read like a new one, so that the row goes.
    """
    listing.execute("create or replace table forgotten (path varchar)")
    stones = tombstones(root)
    if stones is None or not stones.files:
        return
    reader = listing.execute("select path, size_bytes, modified_us from unseen where not is_known")
    found = list[str]()
    while rows := reader.fetchmany(50_000):
        found += [path for path, size, time in rows if stones.has_file(path, size, time)]
    listing.register("found_forgotten", pa.table({"path": pa.array(found, pa.string())}))
    listing.execute("insert into forgotten from found_forgotten")
    listing.unregister("found_forgotten")
    listing.execute("delete from unseen where path in (select path from forgotten)")


def digests(key: bytes, entities: Iterable[tuple[str, str]]) -> list[str]:
    """Return the digests of entities, given as level and key."""
    return sorted({digest(key, level, name) for level, name in entities})
