"""An export and the warehouse that it came from → whether a value of a person is in any byte.

In: a folder, a zip or a file, and a warehouse. Out: where a value was found, never the value. It is
another way than the engine's: nothing is parsed. Bytes are searched for the text of every
identifying element in every encoding that text may have, in UTF-16, in Base64 at each of its three
alignments, in what inflates (zlib, gzip, zip, a deflated data set), in Parquet pages, and in names
of files.

What cannot be searched for is counted, not passed over: values that are too short to mean anything,
numbers, words of imaging, and values that the warehouse holds where they identify nobody.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.cohorts.provenance import ABOUT
from warehouse.deidentify.audit import SCHEMA
from warehouse.deidentify.profile import profile
from warehouse.deidentify.wanted import (
    SHORTEST,
    Patterns,
    folded,
    patterns_of,
    wanted_values,
)
from warehouse.dicom.dictionary import elements, repeaters
from warehouse.errors import SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


_WINDOW = 16 << 20
_PART = 200_000
MAX_INFLATED = 256 << 20
_STREAM = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_DEFLATED = b"1.2.840.10008.1.2.1.99"


class Survivor(NamedTuple):
    """A value that is in an export."""

    file: str
    attribute: str
    """Keyword or tag that the value has in the warehouse; ``file name`` for a part of a path."""
    how: str
    """Encoding, and in what it was found."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a search has shown."""

    files: int
    bytes: int
    values: int
    """Distinct values that were searched for."""
    passed_over: dict[str, int]
    """Values that were not searched for, by reason."""
    survivors: tuple[Survivor, ...]


def check(
    target: Path, against: Path, *, retain: Iterable[str] | None = None,
    clean: Iterable[str] | None = None,
) -> Checked:  # fmt: skip
    """Search an export for the values of people that a warehouse holds.

    Parameters
    ----------
    target
        Folder, zip or file.
    against
        Folder of the warehouse that the export came from.
    retain, clean
        Options of the export: what is kept is not searched for. By default those that the export
        says itself, in ``cohort.json``.

    Raises
    ------
    SourceNotFound, NotAWarehouse
    """
    if not target.exists():
        raise SourceNotFound(str(target))
    said = _said(target)
    chosen = profile(
        retain=_of(said, profile_retains=True) if retain is None else retain,
        clean=_of(said, profile_retains=False) if clean is None else clean,
    )
    values, passed_over = wanted_values(against, chosen)
    patterns = patterns_of(values)
    search = _Search(patterns)
    files = size = 0
    for path in _files(target):
        shown = str(path.relative_to(target)) if path != target else path.name
        search.name(shown)
        size += search.file(path, shown)
        files += 1
    search.finish()
    found = tuple(sorted(search.found))
    return Checked(files, size, len(values), dict(passed_over), found)


def _said(target: Path) -> tuple[str, ...]:
    about = target / ABOUT if target.is_dir() else target.with_name(f"{target.name}.{ABOUT}")
    try:
        return tuple(json.loads(about.read_text("utf-8"))["deidentified"]["options"])
    except (OSError, ValueError, LookupError, TypeError):
        return ()


def _of(options: tuple[str, ...], *, profile_retains: bool) -> tuple[str, ...]:
    cleans = {"descriptors", "structured", "graphics"}
    return tuple(one for one in options if (one not in cleans) == profile_retains)


def _files(target: Path) -> Iterator[Path]:
    if not target.is_dir():
        yield target
        return
    for parent, folders, names in os.walk(target):
        folders.sort()
        for name in sorted(names):
            path = type(target)(parent) / name
            if not path.is_symlink():
                yield path


class _Search:
    """Files searched for patterns."""

    def __init__(self, patterns: Patterns) -> None:
        self.patterns = patterns
        self.found: set[Survivor] = set()
        self._folded = _lists(patterns.folded)
        self._exact = _lists(patterns.exact)
        longest = max((len(p) for p in (*patterns.folded, *patterns.exact)), default=0)
        self._overlap = longest + 1
        self._pending: list[tuple[bytes, str, str]] = []
        self._pending_bytes = 0

    def name(self, shown: str) -> None:
        """Search the name of a file."""
        self._bytes(shown.encode("utf-8", "surrogateescape"), shown, "its name")

    def file(self, path: Path, shown: str) -> int:
        """Search a file, and what is packed in it; return its size."""
        if path.suffix == ".parquet" and self._parquet(path, shown):
            return path.stat().st_size
        if zipfile.is_zipfile(path):
            self._zip(path, shown)
        size = 0
        rest = b""
        with path.open("rb") as file:
            while window := file.read(_WINDOW):
                if not size:
                    self._data_set(window, path, shown)
                size += len(window)
                content = rest + window
                self._bytes(content, shown, "")
                self._streams(content, shown)
                rest = content[-self._overlap :]
        return size

    def _bytes(self, content: bytes, shown: str, where: str) -> None:
        """Search bytes, with others as soon as there are enough: each search costs some time."""
        self._pending.append((content, shown, where))
        self._pending_bytes += len(content)
        if self._pending_bytes >= _WINDOW:
            self.finish()

    def finish(self) -> None:
        """Search what has been put off."""
        pending, self._pending, self._pending_bytes = self._pending, [], 0
        self._among(pending)

    def _among(self, pending: list[tuple[bytes, str, str]]) -> None:
        if not any(self._hits(b"\n".join(content for content, *_ in pending), first=True)):
            return
        if len(pending) > 1:
            half = len(pending) // 2
            self._among(pending[:half])
            self._among(pending[half:])
            return
        ((content, shown, where),) = pending
        for hit, (attribute, encoding, is_bounded) in self._hits(content):
            if is_bounded and not _stands_alone(content, hit.encode("latin-1")):
                continue
            how = f"{encoding}, {where}" if where else encoding
            self.found.add(Survivor(shown, attribute, how))

    def _hits(
        self, content: bytes, *, first: bool = False
    ) -> Iterator[tuple[str, tuple[str, str, bool]]]:
        text = pl.Series([content.decode("latin-1")])
        for lists, patterns, fold in (
            (self._folded, self.patterns.folded, True), (self._exact, self.patterns.exact, False),
        ):  # fmt: skip
            for part in lists:
                if not text.str.contains_any(part, ascii_case_insensitive=fold)[0]:
                    continue
                if first:
                    yield "", ("", "", False)
                    return
                hits = text.str.extract_many(part, ascii_case_insensitive=fold, overlapping=True)
                for hit in hits[0].unique().to_list():
                    yield hit, patterns[folded(hit) if fold else hit]

    def _streams(self, content: bytes, shown: str) -> None:
        for match in _STREAM.finditer(content):
            inflater = zlib.decompressobj(47)  # zlib or gzip, told by their first bytes
            try:
                made = inflater.decompress(content[match.start() :], MAX_INFLATED)
            except zlib.error:
                continue
            if len(made) >= SHORTEST:
                self._bytes(made, shown, "inflated")

    def _data_set(self, window: bytes, path: Path, shown: str) -> None:
        if _DEFLATED not in window[:2048]:
            return
        at = window.index(_DEFLATED)
        content = path.read_bytes() if path.stat().st_size <= MAX_INFLATED else window
        for start in range(at, min(at + 1024, len(content))):
            try:
                made = zlib.decompressobj(-15).decompress(content[start:], MAX_INFLATED)
            except zlib.error:
                continue
            if made[:1] == b"\x08":
                self._bytes(made, shown, "deflated")
                self._streams(made, shown)
                return

    def _zip(self, path: Path, shown: str) -> None:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                inside = f"{shown}!/{info.filename}"
                self.name(info.filename)
                with archive.open(info) as file:
                    rest = b""
                    while window := file.read(_WINDOW):
                        self._bytes(rest + window, inside, "")
                        self._streams(rest + window, inside)
                        rest = window[-self._overlap :]

    def _parquet(self, path: Path, shown: str) -> bool:
        """Search the rows of a Parquet file; return whether its bytes are needless, as of an audit.

        An audit consists of keywords, tags and reasons of ours, in which a name may well be found.
        """
        try:
            file = pq.ParquetFile(path)
            is_audit = file.schema_arrow.names == SCHEMA.names
            for batch in file.iter_batches():
                if is_audit:
                    texts = _strange(batch.to_pydict())
                else:
                    texts = (
                        json.dumps(r, default=str, ensure_ascii=False) for r in batch.to_pylist()
                    )
                self._bytes("\n".join(texts).encode("utf-8", "replace"), shown, "Parquet")
        except pa.ArrowException:
            return False
        return bool(is_audit)


def _strange(columns: dict[str, list[str | None]]) -> Iterator[str]:
    """Yield the texts of an audit that are no keyword, tag or VR."""
    known = {row[4] for row in elements().values()} | {row[4] for row in repeaters().values()}
    for name, texts in columns.items():
        for text in set(texts) - {None, ""}:
            parts = re.sub(r"\[\d+\]", "", str(text)).split(".") if name == "path" else [str(text)]
            yield from (
                part
                for part in parts
                if part not in known and not re.fullmatch(r"[0-9A-F]{8}|[A-Z]{1,2}", part)
            )


def _lists(patterns: Iterable[str]) -> list[list[str]]:
    found = list(patterns)
    return [found[at : at + _PART] for at in range(0, len(found), _PART)]


def _stands_alone(content: bytes, hit: bytes) -> bool:
    """Return whether a number is not only a part of a longer one, somewhere."""
    plain = hit.replace(b"\0", b"")
    gap = rb"\0?" if plain != hit else b""
    around = rb"(?<![0-9.])" + gap + re.escape(hit) + gap + rb"(?!\.?[0-9])"
    return re.search(around, content, re.IGNORECASE) is not None
