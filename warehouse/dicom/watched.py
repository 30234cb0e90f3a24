"""``Watched``: a file object that enforces limits and detects reads past its end.

In: an open file and limits. Out: the same bytes, or ``TooMuch``. pydicom keeps everything that it
parses in memory and does not report how much, so its reads are counted.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, BinaryIO, NoReturn, cast

from warehouse.errors import Rejected, TooMuch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.settings import Limits

SPOOL_BYTES = 32 << 20
"""Deflated data sets that unpack to more than this go through a temporary file."""

_PIECE = 1 << 20
_SEARCH_BLOCK = 8 * 1024
"""Block size of pydicom's search for a delimiter; a short read in it is not an error."""

_HEAD_BYTES = 8
_ITEMS = b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00"
"""First bytes of an item, in both byte orders (PS3.5 7.5.2)."""


@dataclass(slots=True)
class LongValue:
    """A long value to find, and the file to copy it to."""

    sha256: str
    length: int
    target: IO[bytes]
    is_found: bool = False


class Spent:
    """Usage of the limits by a file."""

    def __init__(self, limits: Limits, wanted: LongValue | None = None) -> None:
        self.limits = limits
        self.wanted = wanted
        self._bytes = self._items = self._heads = self._elements = 0
        self._most_elements = (limits.elements, "elements")
        if limits.elements > limits.pydicom_elements:
            self._most_elements = (limits.pydicom_elements, "elements to be read by pydicom")
        self._most_items = (limits.items, "items")
        if limits.items > limits.pydicom_items:
            self._most_items = (limits.pydicom_items, "items to be read by pydicom")
        self.beyond: TooMuch | None = None
        """The error, kept because pydicom replaces errors raised by its file."""
        self.failed: OSError | None = None
        """The error of a failed read, kept for the same reason."""

    def add_wanted(self, count: int) -> None:
        """Raise for a read that is too long, before memory is allocated."""
        if self._bytes + count > self.limits.header_bytes:
            self._refuse(self.limits.header_bytes, "bytes of header")

    def add_read(self, data: bytes) -> None:
        """Count bytes that a parser keeps, and the elements that begin in them."""
        self._bytes += len(data)
        if len(data) < _HEAD_BYTES:
            return
        self._items += sum(data.count(item) for item in _ITEMS)
        if self._items > self._most_items[0]:
            self._refuse(*self._most_items)
        # Values of 8 bytes are read like element heads, so the count may be twice too high.
        self._heads += len(data) == _HEAD_BYTES
        if self._heads > 2 * (self._most_elements[0] + self._most_items[0]):
            self._refuse(*self._most_elements)

    def add_elements(self, count: int) -> None:
        """Count elements that were parsed."""
        self._elements += count
        if self._elements > self._most_elements[0]:
            self._refuse(*self._most_elements)

    def _refuse(self, limit: int, what: str) -> NoReturn:
        self.beyond = TooMuch(limit, what)
        raise self.beyond


class Watched:
    """A file object that counts reads, and records whether one went past the end."""

    def __init__(self, file: IO[bytes], spent: Spent) -> None:
        self._file = file
        self.spent = spent
        self.cut_at: int | None = None
        self.hides_prefix = False
        """Whether to hide DICM from the next read of four bytes, in which pydicom looks for it."""
        self.seek = file.seek
        self.tell = file.tell

    def read_if(self, count: int) -> bytes:
        """Read bytes without checking limits."""
        try:
            return self._file.read(count)
        except OSError as error:
            self.spent.failed = error
            raise

    def read(self, count: int = -1) -> bytes:
        """Read bytes, as a file object does."""
        self.spent.add_wanted(count)
        data = self.read_if(count)
        if self.hides_prefix and count == 4:
            self.hides_prefix = False
            return bytes(len(data))
        if len(data) < count and count != _SEARCH_BLOCK and (count > 8 or (count == 8 and data)):
            if count > 8 or data.strip(b"\0"):
                self.cut_at = self._file.tell()
            else:
                # Zeros at the end, too few for an element: padding.
                self._file.seek(self._file.tell() - len(data))
        self.spent.add_read(data)
        return data

    def digest(self, count: int) -> str:
        """Return the SHA-256 of the next bytes, read in pieces; copy them if requested."""
        digest = hashlib.sha256()
        wanted = self.spent.wanted
        if wanted is not None and (wanted.is_found or count != wanted.length):
            wanted = None
        if wanted is not None:
            wanted.target.seek(0)
        while count > 0:
            data = self.read_if(min(count, _PIECE))
            if not data:
                raise Rejected("the file has become shorter while it was read")
            digest.update(data)
            if wanted is not None:
                wanted.target.write(data)
            count -= len(data)
        if wanted is not None:
            wanted.is_found = digest.hexdigest() == wanted.sha256
        return digest.hexdigest()

    def size(self) -> int:
        """Return the size of the file."""
        position = self._file.tell()
        end = self._file.seek(0, os.SEEK_END)
        self._file.seek(position)
        return end


@contextmanager
def inflated(file: Watched) -> Iterator[Watched]:
    """Inflate the rest of a file, to a temporary file if it is long; return it watched.

    Raises
    ------
    TooMuch
        It unpacks to more than the limits allow.
    Rejected
        It is truncated.
    """
    limit = file.spent.limits.inflated_bytes
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    with tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES) as unpacked:
        size = 0
        while not inflater.eof:
            packed = inflater.unconsumed_tail or file.read_if(_PIECE)
            data = inflater.decompress(packed, _PIECE)
            if not packed and not data:
                raise Rejected("cut off: the deflated data set is incomplete")
            size += len(data)
            if size > limit:
                raise TooMuch(limit, "bytes in the deflated data set")
            unpacked.write(data)
        unpacked.seek(0)
        yield Watched(unpacked, file.spent)


def as_file(file: Watched) -> BinaryIO:
    """Cast to the type that pydicom declares; it uses only read, seek and tell."""
    return cast("BinaryIO", file)
