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

import base64
import json
import os
import re
import zipfile
import zlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.catalog.connect import open_catalog
from warehouse.cohorts.provenance import ABOUT
from warehouse.deidentify.audit import SCHEMA
from warehouse.deidentify.identity import says_who
from warehouse.deidentify.profile import profile
from warehouse.deidentify.values import words
from warehouse.dicom.dictionary import elements, repeaters
from warehouse.errors import SourceNotFound
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from warehouse.deidentify.profile import Profile

CHARSETS = (
    "utf-8", "latin-1", "iso8859-2", "iso8859-3", "iso8859-4", "iso8859-5", "iso8859-6",
    "iso8859-7", "iso8859-8", "iso8859-9", "iso8859-15", "tis-620", "shift_jis", "iso2022_jp",
    "iso2022_jp_2", "euc_jp", "iso2022_kr", "euc_kr", "gb18030", "gbk", "cp1252",
)  # fmt: skip
_WIDE = ("utf-16-le", "utf-16-be")
SHORTEST = 5
_SHORTEST_DIGITS, _SHORTEST_UID, _SHORTEST_BASE64 = 6, 9, 6
LONGEST = 200
"""Characters of a value that are searched for; longer ones by their beginning."""
_WINDOW = 16 << 20
_PART = 200_000
MAX_INFLATED = 256 << 20
_STREAM = re.compile(rb"\x78[\x01\x5e\x9c\xda]|\x1f\x8b\x08")
_DEFLATED = b"1.2.840.10008.1.2.1.99"
_NAMES = re.compile(r"[\^= ,]+")


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


@dataclass(slots=True)
class _Patterns:
    """Bytes to look for, as text in Latin-1, with what they are."""

    folded: dict[str, tuple[str, str, bool]] = field(default_factory=dict)
    """Lower case: attribute, encoding, and whether digits may not stand beside it."""
    exact: dict[str, tuple[str, str, bool]] = field(default_factory=dict)


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
    values, passed_over = _values(against, chosen)
    patterns = _patterns(values)
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


def _values(root: Path, chosen: Profile) -> tuple[dict[str, str], Counter[str]]:
    """Return the values to search for with their attribute, and what is passed over and why."""
    connection = open_catalog(root).connection
    wanted: dict[str, str] = {}
    passed_over: Counter[str] = Counter()
    known, keywords = words(), set(chosen.keywords.values())
    harmless = "\n".join(
        text for (text,) in connection.execute(statement("harmless_values", "runs")).fetchall()
    )
    rows = connection.sql(statement("identifying_values", "runs")).to_arrow_reader(50_000)
    for batch in rows:
        for row in batch.to_pylist():
            vr, text = row["vr"], row["text"]
            attribute = row["keyword"] or row["tag"]
            action = chosen.actions.get(int(row["tag"], 16))
            is_private = int(row["tag"][3], 16) % 2 == 1
            if is_private and _is_safe(row, chosen):
                passed_over["safe private elements"] += 1
                continue
            if not is_private and action is None and attribute in keywords:
                passed_over["kept by an option, or in a sequence that goes"] += 1
                if vr != "PN":
                    continue
            if action is not None and action.code == "C" and vr in {"DA", "DT", "TM"}:
                passed_over["shifted dates"] += 1
                continue
            # A name that stands where it should not is what is searched for.
            may_stand = not says_who(int(row["tag"], 16), row["keyword"] or "", vr)
            for one in _parts(vr, text):
                if why := _why_not(
                    one, vr, known, is_elsewhere=may_stand and one.lower() in harmless
                ):
                    passed_over[why] += 1
                else:
                    wanted.setdefault(one, attribute)
    return wanted, passed_over


def _is_safe(row: dict[str, str], chosen: Profile) -> bool:
    """Return whether a private element, or the name of its block, is one that is kept."""
    tag = int(row["tag"], 16)
    element = (row["creator"] or "", tag >> 16, tag & 0xFF)
    creators = {creator for creator, *_ in chosen.safe_private}
    return element in chosen.safe_private or (tag & 0xFF00 == 0 and row["text"] in creators)


def _parts(vr: str, text: str) -> list[str]:
    """Return what is searched for of a value: of a name its components, and each group whole."""
    if vr != "PN":
        return [text]
    parts: list[str] = []
    for group in json.loads(text).values():
        components = [str(one) for one in group.values()]
        parts += [part for one in components for part in _NAMES.split(one) if part]
        parts.append("^".join(components))
    return list(dict.fromkeys(parts))


def _why_not(text: str, vr: str, known: frozenset[str], *, is_elsewhere: bool) -> str:
    plain = text.strip()
    if len(plain) < SHORTEST:
        return f"shorter than {SHORTEST} characters"
    if vr in {"DS", "IS", "AS", "TM"}:
        return "numbers, ages and times"
    if plain.isdigit() and len(plain) < _SHORTEST_DIGITS:
        return f"fewer than {_SHORTEST_DIGITS} digits"
    if vr == "UI" and (len(plain) < _SHORTEST_UID or plain.startswith("1.2.840.10008.")):
        return "UIDs of the standard, or too short"
    parts = [part for part in re.split(r"\W+", plain.lower()) if part]
    if all(part in known or (part.isdigit() and len(part) < 4) for part in parts) and any(
        part in known for part in parts
    ):
        return "words of imaging"
    if plain.upper() in {"REMOVED", "UNKNOWN", "ANONYMOUS", "ANONYMIZED"}:
        return "words that name nobody"
    return "stands where it identifies nobody" if is_elsewhere else ""


def _patterns(values: dict[str, str]) -> _Patterns:
    made = _Patterns()
    for text, attribute in values.items():
        cut = text.strip()[:LONGEST]
        is_bounded = bool(re.fullmatch(r"[\d.]+", cut))
        plain: dict[bytes, str] = {}
        for charset in ("utf-8",) if cut.isascii() else CHARSETS:
            try:
                plain.setdefault(cut.encode(charset), charset)
            except UnicodeEncodeError:
                continue
        for wide in _WIDE:
            plain.setdefault(cut.encode(wide, "replace"), wide)
        for content, charset in plain.items():
            if len(content) >= SHORTEST:
                shown = content.decode("latin-1")
                made.folded.setdefault(_folded(shown), (attribute, charset, is_bounded))
        for content, charset in plain.items():
            for coded in _base64(content):
                made.exact.setdefault(coded, (attribute, f"Base64 of {charset}", False))
    return made


def _base64(content: bytes) -> Iterator[str]:
    """Yield what is certain of the Base64 of some bytes, wherever they begin."""
    for before, first in ((0, 0), (1, 2), (2, 3)):
        coded = base64.b64encode(bytes(before) + content).decode("ascii")
        last = (before + len(content)) // 3 * 4
        if last - first >= _SHORTEST_BASE64:
            yield coded[first:last]


def _folded(text: str) -> str:
    """Return a text with ASCII letters in lower case, and others as they are."""
    return "".join(c.lower() if c.isascii() else c for c in text)


class _Search:
    """Files searched for patterns."""

    def __init__(self, patterns: _Patterns) -> None:
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
                    yield hit, patterns[_folded(hit) if fold else hit]

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
