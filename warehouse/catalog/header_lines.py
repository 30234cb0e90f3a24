"""Format a header as a table: elements in order, items indented, private elements separate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.escape import escaped

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from warehouse.catalog.header import Header
    from warehouse.catalog.header_element import HeaderElement


_LONGEST_NAME = 44
"""Maximum width of a name, with its indentation."""

_BESIDE = 24
"""Characters of a line beside name and value."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One element of a header, or the head of a sequence item."""

    depth: int
    """Number of enclosing sequences."""
    name: str
    element: HeaderElement | None
    """None for the head of an item."""
    is_private: bool
    """Whether the group number of the element, or of an enclosing sequence, is odd."""


def _entries(
    elements: Iterable[HeaderElement], depth: int, *, inside_private: bool
) -> Iterator[Entry]:
    for element in elements:
        is_private = inside_private or element.is_private
        yield Entry(depth, element.label, element, is_private)
        for number, item in enumerate(element.items):
            yield Entry(depth + 1, f"item {number}", None, is_private)
            yield from _entries(item, depth + 1, inside_private=is_private)


def lines(header: Header, width: int | None) -> Iterator[tuple[str, str]]:
    """Format a header as a table: yield ``(kind, line)``, kind title, item, public or private.

    Parameters
    ----------
    header
        A header.
    width
        Characters per line; longer values are truncated. None keeps them whole.
    """
    entries = list(_entries(header.elements, 0, inside_private=False))
    name_width = max([len(escaped(e.name)) + 2 * e.depth for e in entries], default=0)
    # On a narrow terminal a long name moves its value to the right, rather than all values.
    most = _LONGEST_NAME if width is None else min(_LONGEST_NAME, (width - _BESIDE) // 2)
    name_width = min(max(name_width, len("Keyword")), most)
    head = f"{'Tag':<11}  {'Keyword':<{name_width}}  VR  {'VM':>3}  Value"
    for title, wanted in (("Data Elements", False), ("Private Data Elements", True)):
        section = [e for e in entries if e.is_private is wanted]
        if not section:
            continue
        yield "title", title
        yield "title", head
        for entry in section:
            indent = "  " * entry.depth
            found = entry.element
            if found is None:
                yield "item", f"{'':<11}  {indent}{entry.name}"
                continue
            name = (indent + escaped(entry.name))[:_LONGEST_NAME]
            value = escaped(found.text.replace("\r", " ").replace("\n", " "))
            line = (
                f"({found.tag[:4]},{found.tag[4:]})  {name:<{name_width}}  {escaped(found.vr):<2}  "
                f"{found.vm:>3}  {value}"
            )
            if width is not None and len(line) > width:
                line = line[: width - 1] + "…"
            yield "private" if wanted else "public", line.rstrip()
        yield "public", ""
