"""Search every byte of an export for identifying values of its warehouse.

In: a folder, a zip or a file, and a warehouse. Out: where a value was found, never the value. The
search is independent of the engine and does not parse DICOM: it searches bytes for the text of
every identifying element in every encoding that text may have, in UTF-16, in Base64 at each of its
three alignments, in compressed streams (zlib, gzip, zip, a deflated data set), in Parquet rows, and
in names of files.

Values that are not searched for are counted: values that are too short, numbers, words of imaging,
and values that the warehouse also has in elements that identify nobody.
"""

from __future__ import annotations

import io
import json
import lzma
import os
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.cohorts.provenance import ABOUT
from warehouse.deidentify.audit import SCHEMA
from warehouse.deidentify.identifying_values import Patterns, identifying_values, patterns_of
from warehouse.deidentify.needles import SHORTEST, Needles, Pieces
from warehouse.deidentify.profile import profile
from warehouse.dicom.dictionary import elements, repeaters
from warehouse.errors import SourceNotFound

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path


_WINDOW = 16 << 20
_INFLATE_BYTES = 1 << 20
_CONTEXT_BYTES = 14
"""Bytes after a number that show whether it continues: a time, of two bytes per character."""
MAX_INFLATED = 8 << 30
"""Number of bytes of a stream that are searched; longer streams are counted."""
_MAX_DEFLATED = 1 << 30
_NUMBER = tuple(b".0123456789"[at : at + 1] for at in range(11))
_GOES_ON = re.compile(rb"\.?[0-9]")
_DAY = re.compile(rb"(?:19|20)[0-9]{6}")
_TIME = re.compile(rb"(?:[01][0-9]|2[0-3])(?:[0-5][0-9]){1,2}(?![0-9])")
"""Hour, minute and second: with them, the digits of a day continue in a date and time."""
_STREAM = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_ZIP_ERRORS = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, RuntimeError, ValueError,
    EOFError, OverflowError,
)  # fmt: skip
"""Errors of ``zipfile`` for damaged, encrypted and unknown archives and members."""
_DEFLATED = b"1.2.840.10008.1.2.1.99"


class Survivor(NamedTuple):
    """An identifying value that was found in an export."""

    file: str
    attribute: str
    """Keyword or tag that the value has in the warehouse; ``file name`` for a part of a path."""
    how: str
    """Encoding, and container: file name, compressed stream or Parquet."""


@dataclass(frozen=True, slots=True)
class Checked:
    """Result of a search."""

    files: int
    bytes: int
    values: int
    """Distinct values that were searched for."""
    passed_over: dict[str, int]
    """Reason → number of values that were not searched for."""
    survivors: tuple[Survivor, ...]


def check(
    target: Path, against: Path, *, retain: Iterable[str] | None = None,
    clean: Iterable[str] | None = None,
) -> Checked:  # fmt: skip
    """Search an export for identifying values of a warehouse.

    Parameters
    ----------
    target
        Folder, zip or file.
    against
        Folder of the warehouse that the export came from.
    retain, clean
        Options of the export: values that they keep are not searched for. By default those in
        ``cohort.json`` of the export.

    Raises
    ------
    SourceNotFound, NotAWarehouse
    """
    if not os.path.exists(target):
        raise SourceNotFound(str(target))
    statements = _export_options(target)
    chosen = profile(
        retain=_select_options(statements, profile_retains=True) if retain is None else retain,
        clean=_select_options(statements, profile_retains=False) if clean is None else clean,
    )
    values, passed_over = identifying_values(against, chosen)
    result = searched(target, patterns_of(values))
    return replace(result, values=len(values), passed_over=result.passed_over | dict(passed_over))


def searched(target: Path, patterns: Patterns) -> Checked:
    """Search a folder, a zip or a file for patterns."""
    search = _Search(patterns)
    passed_over: dict[str, int] = {}
    files = size = 0
    for path in _files_in(target):
        shown = str(path.relative_to(target)) if path != target else path.name
        search.name(shown)
        size += search.file(path, shown)
        files += 1
    search.finish()
    if search.cut_streams:
        passed_over[f"streams that inflate to more than {MAX_INFLATED} bytes"] = search.cut_streams
    if search.unread_zips:
        passed_over["zip files and members that cannot be unpacked"] = search.unread_zips
    survivors = tuple(sorted(search.found))
    return Checked(files, size, 0, passed_over, survivors)


def _export_options(target: Path) -> tuple[str, ...]:
    provenance = target / ABOUT if target.is_dir() else target.with_name(f"{target.name}.{ABOUT}")
    try:
        return tuple(json.loads(provenance.read_text("utf-8"))["deidentified"]["options"])
    except (OSError, ValueError, LookupError, TypeError):
        return ()


def _select_options(options: tuple[str, ...], *, profile_retains: bool) -> tuple[str, ...]:
    cleans = {"descriptors", "structured", "graphics"}
    return tuple(option for option in options if (option not in cleans) == profile_retains)


def _files_in(target: Path) -> Iterator[Path]:
    if not target.is_dir():
        yield target
        return
    for parent, folders, names in os.walk(target):
        folders.sort()
        for name in sorted(names):
            path = type(target)(parent) / name
            if not path.is_symlink():
                yield path


@dataclass(slots=True)
class _CompressedStream:
    """A compressed stream that is being inflated."""

    inflater: Any = field(default_factory=lambda: zlib.decompressobj(47))
    """For zlib or gzip, detected by the first bytes."""
    rest: bytes = b""
    """Bytes that have not been searched, after an overlap with the bytes before them."""
    size: int = 0


class _Search:
    """Search of files for patterns."""

    def __init__(self, patterns: Patterns) -> None:
        self.patterns = patterns
        self.found: set[Survivor] = set()
        self.cut_streams = self.unread_zips = 0
        self._needles = Needles(patterns.folded, patterns.exact)
        longest = max((len(p) for p in (*patterns.folded, *patterns.exact)), default=0)
        self._overlap = longest + _CONTEXT_BYTES
        self._pieces = Pieces()

    def name(self, shown: str) -> None:
        """Search the name of a file."""
        self._queue(shown.encode("utf-8", "surrogateescape"), shown, "its name")

    def file(self, path: Path, shown: str) -> int:
        """Search a file and its compressed content; return its size."""
        if path.suffix == ".parquet" and self._parquet(path, shown):
            return path.stat().st_size
        if zipfile.is_zipfile(path):
            self._zip(path, shown)
        with path.open("rb") as file:
            return self._stream(file, shown, "", path)

    def _stream(self, file: IO[bytes], shown: str, where: str, path: Path | None = None) -> int:
        """Search a stream and the compressed streams in it, window by window; return its size."""
        size, overlap = 0, b""
        inflating: list[_CompressedStream] = []
        while window := file.read(_WINDOW):
            if not size and path is not None:
                self._data_set(window, path, shown)
            content = overlap + window
            self._queue(content, shown, where)
            inflating = [
                stream for stream in inflating if self._inflate(stream, memoryview(window), shown)
            ]
            for match in _STREAM.finditer(content):
                # The last window already had this match.
                if size and match.end() <= len(overlap):
                    continue
                stream = _CompressedStream()
                if self._inflate(stream, memoryview(content)[match.start() :], shown):
                    inflating.append(stream)
            size += len(window)
            overlap = content[-self._overlap :]
        for stream in inflating:
            self._queue(stream.rest + stream.inflater.flush(), shown, "inflated")
        return size

    def _inflate(self, stream: _CompressedStream, packed: memoryview, shown: str) -> bool:
        """Inflate bytes of a zlib or gzip stream and search them; return whether it continues."""
        for start in range(0, len(packed), _INFLATE_BYTES):
            pending: bytes | memoryview = packed[start : start + _INFLATE_BYTES]
            while len(pending):
                try:
                    inflated = stream.inflater.decompress(pending, _WINDOW)
                except zlib.error:
                    self._queue(stream.rest, shown, "inflated")
                    return False
                pending = stream.inflater.unconsumed_tail
                stream.size += len(inflated)
                stream.rest += inflated
                if len(stream.rest) >= _WINDOW or stream.inflater.eof:
                    self._queue(stream.rest, shown, "inflated")
                    stream.rest = stream.rest[-self._overlap :]
                if stream.size > MAX_INFLATED:
                    self.cut_streams += 1
                    return False
            if stream.inflater.eof:
                return False
        return True

    def _queue(self, content: bytes, shown: str, where: str) -> None:
        """Queue bytes, and search when there are enough, as each search has a fixed cost."""
        if len(content) >= SHORTEST:
            self._pieces.add(content, shown, where)
        if self._pieces.size >= _WINDOW:
            self.finish()

    def finish(self) -> None:
        """Search the queued bytes."""
        pieces, self._pieces = self._pieces, Pieces()
        content = b"".join(pieces.contents)
        for start, match in self._needles.found(content):
            number = pieces.of(start, start + len(match))
            if number is None:
                continue
            pattern = self.patterns.folded.get(match) or self.patterns.exact[match]
            end = start + len(match)
            piece_start = pieces.ends[number] - len(pieces.contents[number])
            neighbors = (content[max(start - 2, piece_start) : start],
                      content[end : min(end + _CONTEXT_BYTES, pieces.ends[number])])  # fmt: skip
            if pattern.is_bounded and not _stands_alone(match, *neighbors):
                continue
            shown, where = pieces.about[number]
            encoding = f"{pattern.encoding}, {where}" if where else pattern.encoding
            self.found.add(Survivor(shown, pattern.attribute, encoding))

    def _data_set(self, window: bytes, path: Path, shown: str) -> None:
        """Search a deflated data set, if the file has one."""
        if _DEFLATED not in window[:2048]:
            return
        uid_start = window.index(_DEFLATED)
        content = path.read_bytes() if path.stat().st_size <= _MAX_DEFLATED else window
        for start in range(uid_start, min(uid_start + 1024, len(content))):
            try:
                inflated = zlib.decompressobj(-15).decompress(content[start:], _MAX_DEFLATED)
            except zlib.error:
                continue
            if inflated[:1] == b"\x08":
                self._stream(io.BytesIO(inflated), shown, "deflated")
                return

    def _zip(self, path: Path, shown: str) -> None:
        """Search the names and the content of the members of a zip, as far as it can be read.

        Any bytes may end as a zip does, such as compressed pixels.
        """
        try:
            archive = zipfile.ZipFile(path)
        except _ZIP_ERRORS:
            self.unread_zips += 1
            return
        with archive:
            for info in archive.infolist():
                self.name(info.filename)
                try:
                    with archive.open(info) as file:
                        self._stream(file, f"{shown}!/{info.filename}", "")
                except _ZIP_ERRORS:
                    self.unread_zips += 1

    def _parquet(self, path: Path, shown: str) -> bool:
        """Search the rows of a Parquet file; return whether its bytes can be skipped, as of audits.

        An audit consists of keywords, tags and fixed reasons, which may contain a name by chance.
        """
        try:
            file = pq.ParquetFile(path)
            is_audit = file.schema_arrow.names == SCHEMA.names
            for batch in file.iter_batches():
                if is_audit:
                    texts = _unexpected_texts(batch.to_pydict())
                else:
                    texts = (
                        json.dumps(r, default=str, ensure_ascii=False) for r in batch.to_pylist()
                    )
                self._queue("\n".join(texts).encode("utf-8", "replace"), shown, "Parquet")
        except pa.ArrowException:
            return False
        return bool(is_audit)


def _unexpected_texts(columns: dict[str, list[str | None]]) -> Iterator[str]:
    """Yield the texts of an audit that are not a keyword, tag or VR."""
    known = {row[4] for row in elements().values()} | {row[4] for row in repeaters().values()}
    for name, texts in columns.items():
        for text in set(texts) - {None, ""}:
            parts = re.sub(r"\[\d+\]", "", str(text)).split(".") if name == "path" else [str(text)]
            yield from (
                part
                for part in parts
                if part not in known and not re.fullmatch(r"[0-9A-F]{8}|[A-Z]{1,2}", part)
            )


def _stands_alone(match: bytes, before: bytes, after: bytes) -> bool:
    """Return whether a number is not a part of a longer one, or a day before its time."""
    if b"\0" in match:  # two bytes per character
        match, before, after = (part.replace(b"\0", b"") for part in (match, before, after))
    if before[-1:] in _NUMBER:
        return False
    if _DAY.fullmatch(match) and _TIME.match(after):
        return True
    return _GOES_ON.match(after) is None
