"""Parse Multiple* annotations in files of any length, in blocks of shapes.

In: a file. Out: lists of shapes, each block valid by the schema of its kind, and at last the head.
Python's JSON decoder reads one shape at a time from a window of text: what is kept is a block of
shapes, whatever the length of the file. The rules are those of ``json_text``: duplicate keys, NaN
and the rest are refused.
"""

from __future__ import annotations

import codecs
import json
from typing import IO, TYPE_CHECKING, Any

from warehouse.components import json_text, validate
from warehouse.errors import ValueRefused

if TYPE_CHECKING:
    from collections.abc import Iterator

    from warehouse.components.kinds import Kind

BLOCK = 20_000
"""Shapes that are validated and written together."""

BLOCK_CHARACTERS = 8 << 20
"""Text of shapes after which a block ends, however few they are."""

WINDOW = 1 << 20
MAX_SHAPE_CHARACTERS = 16 << 20
"""Text that one shape, or any other entry of the value, may have."""

_SPACES = " \t\n\r"


class _Window:
    """The text of a file, as much of it as is needed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_pairs, parse_constant=_constant
        )  # fmt: skip
        self.text = ""
        self.at = 0
        self.is_whole = False
        self._more()
        if self.text.startswith("\ufeff"):
            raise ValueRefused("it begins with a byte order mark; save it as UTF-8 without one")

    def _more(self) -> None:
        # Read more at a time for large entries: retrying a parse costs as much as reading.
        read = self._file.read(max(WINDOW, len(self.text) - self.at))
        self.is_whole = not read
        try:
            added = self._decode.decode(read, final=self.is_whole)
        except UnicodeError:
            raise ValueRefused("it is not UTF-8 text") from None
        self.text = self.text[self.at :] + added
        self.at = 0

    def peek(self) -> str:
        """Return the next character that is no space; '' at the end."""
        while True:
            while self.at < len(self.text):
                character = self.text[self.at]
                if character not in _SPACES:
                    return character
                self.at += 1
            if self.is_whole:
                return ""
            self._more()

    def take(self, wanted: str) -> str:
        """Step over the next character, which is one of those wanted."""
        found = self.peek()
        if not found or found not in wanted:
            raise ValueRefused("it is no JSON: the object is cut off or malformed")
        self.at += 1
        return found

    def entry(self) -> Any:
        """Return the next value."""
        self.peek()
        while True:
            try:
                found, end = self._decoder.raw_decode(self.text, self.at)
            except RecursionError:
                raise ValueRefused("lists and objects are nested too deep") from None
            except json.JSONDecodeError as error:
                if self.is_whole:
                    raise ValueRefused(f"it is no JSON: {error.msg}") from None
            except ValueRefused:
                raise
            except ValueError:
                raise ValueRefused("it holds an integer of more digits than are read") from None
            else:
                # A number at the end of the window may continue after it.
                if end < len(self.text) or self.is_whole:
                    self.at = end
                    return found
            if len(self.text) - self.at > MAX_SHAPE_CHARACTERS:
                raise ValueRefused(
                    f"a shape has more than {MAX_SHAPE_CHARACTERS >> 20} MiB of text"
                )
            self._more()


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueRefused("an object has the same key twice")
    return found


def _constant(name: str) -> None:
    raise ValueRefused(f"it holds {name}, which is no JSON")


def blocks(
    file: IO[bytes], kind: Kind, head: dict[str, Any]
) -> Iterator[list[dict[str, Any]]]:  # fmt: skip
    """Yield the shapes of a Multiple* annotation, a block at a time.

    Parameters
    ----------
    file
        The value, from its beginning.
    kind
        One of the eight Multiple* kinds.
    head
        Where to put what the value says besides its shapes; it is whole, and valid, at the end.

    Raises
    ------
    ValueRefused
        With the JSON path of the first error in a shape, or in the head.
    """
    window = _Window(file)
    seen: set[str] = set()
    window.take("{")
    if window.peek() == "}":
        window.take("}")
    else:
        while True:
            key = window.entry()
            if not isinstance(key, str):
                raise ValueRefused("it is no JSON: a key is no text")
            if key in seen:
                raise ValueRefused("an object has the same key twice")
            seen.add(key)
            window.take(":")
            if key == kind.items_key and window.peek() == "[":
                yield from _shapes(window, kind)
            else:
                head[key] = window.entry()
            if window.take(",}") == "}":
                break
    if window.peek():
        raise ValueRefused("it is no JSON: text follows the end of the value")
    json_text.require_nesting(head)
    empty: dict[str, Any] = {kind.items_key: []} if kind.items_key in seen else {}
    if error := validate.first_error(validate.of_kind(kind.code), empty | head):
        raise error


def _shapes(window: _Window, kind: Kind) -> Iterator[list[dict[str, Any]]]:
    """Yield the entries of the list that begins here."""
    first = size = 0
    block: list[dict[str, Any]] = []
    window.take("[")
    if window.peek() == "]":
        window.take("]")
        return
    while True:
        begin = window.at
        block.append(window.entry())
        size += max(window.at - begin, 1)
        ends = window.take(",]") == "]"
        if ends or len(block) >= BLOCK or size >= BLOCK_CHARACTERS:
            _require_shapes(block, kind, first)
            yield block
            first += len(block)
            block, size = [], 0
        if ends:
            return


def _require_shapes(block: list[dict[str, Any]], kind: Kind, first: int) -> None:
    """Check a block; the path says where in the whole list the first error is."""
    validator = validate.of_items(kind.item_kind)
    if validator.is_valid(block):
        return
    found = next(validator.iter_errors(block))
    index, *rest = found.instance_path
    path = validate.json_path([kind.items_key, first + index, *rest])
    raise ValueRefused(found.message, path)


STREAMED_BYTES = 8 << 20
