"""Parse Multiple* annotations in files of any length, in blocks of shapes.

In: a file. Out: blocks of shapes that are valid by the schema of their kind, and finally the head.
Python's JSON decoder parses one shape at a time from a window of text, so that memory is bounded by
a block of shapes. As in ``json_text``, duplicate keys, NaN and lone surrogates are refused.
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
"""Number of shapes in a block, which is validated and written at once."""

BLOCK_CHARACTERS = 8 << 20
"""Number of characters after which a block ends, even if it has fewer shapes."""

WINDOW = 1 << 20
MAX_SHAPE_CHARACTERS = 16 << 20
"""Largest number of characters of a shape, or of any other entry of the value."""

_SPACES = " \t\n\r"


class _Window:
    """A window of the text of a file, decoded as it is parsed."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._decode = codecs.getincrementaldecoder("utf-8")()
        self._decoder = json.JSONDecoder(
            object_pairs_hook=_without_duplicates, parse_constant=_refuse_constant
        )  # fmt: skip
        self.text = ""
        self.at = 0
        self.is_at_end = False
        self._read_more()
        if self.text.startswith("\ufeff"):
            raise ValueRefused("it begins with a byte order mark; save it as UTF-8 without one")

    def _read_more(self) -> None:
        # Read more at a time for large entries: retrying a parse costs as much as reading.
        block = self._file.read(max(WINDOW, len(self.text) - self.at))
        self.is_at_end = not block
        try:
            added = self._decode.decode(block, final=self.is_at_end)
        except UnicodeError:
            raise ValueRefused("it is not UTF-8 text") from None
        self.text = self.text[self.at :] + added
        self.at = 0

    def peek(self) -> str:
        """Return the next character that is not white space without consuming it; '' at the end."""
        while True:
            while self.at < len(self.text):
                character = self.text[self.at]
                if character not in _SPACES:
                    return character
                self.at += 1
            if self.is_at_end:
                return ""
            self._read_more()

    def take(self, wanted: str) -> str:
        """Consume and return the next character, which must be one of ``wanted``."""
        character = self.peek()
        if not character or character not in wanted:
            raise ValueRefused("it is not JSON: the object is cut off or malformed")
        self.at += 1
        return character

    def entry(self) -> Any:
        """Parse the next JSON value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self.text, self.at)
            except RecursionError:
                raise ValueRefused("lists and objects are nested too deep") from None
            except json.JSONDecodeError as error:
                if self.is_at_end:
                    raise ValueRefused(f"it is not JSON: {error.msg}") from None
            except ValueRefused:
                raise
            except ValueError:
                raise ValueRefused("it contains an integer with too many digits") from None
            else:
                # A number at the end of the window may continue after it.
                if end < len(self.text) or self.is_at_end:
                    json_text.require_characters(value, self.text, self.at, end)
                    self.at = end
                    return value
            if len(self.text) - self.at > MAX_SHAPE_CHARACTERS:
                raise ValueRefused(
                    f"a shape has more than {MAX_SHAPE_CHARACTERS >> 20} MiB of text"
                )
            self._read_more()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueRefused("an object has the same key twice")
    return unique


def _refuse_constant(name: str) -> None:
    raise ValueRefused(f"it contains {name}, which is not JSON")


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
        Filled with the entries of the value besides its shapes; complete and valid at the end.

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
                raise ValueRefused("it is not JSON: a key is not a string")
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
        raise ValueRefused("it is not JSON: text follows the end of the value")
    json_text.require_nesting(head)
    empty: dict[str, Any] = {kind.items_key: []} if kind.items_key in seen else {}
    if error := validate.first_error(validate.of_kind(kind.code), empty | head):
        raise error


def _shapes(window: _Window, kind: Kind) -> Iterator[list[dict[str, Any]]]:
    """Yield the shapes of the list at the current position, in blocks."""
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
    """Validate a block; the path of an error has the index in the whole list."""
    validator = validate.of_items(kind.item_kind)
    if validator.is_valid(block):
        return
    error = next(validator.iter_errors(block))
    index, *rest = error.instance_path
    path = validate.json_path([kind.items_key, first + index, *rest])
    raise ValueRefused(error.message, path)


STREAMED_BYTES = 8 << 20
"""Size of a JSON file above which its shapes are streamed, in bytes."""
