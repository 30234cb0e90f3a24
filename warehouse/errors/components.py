"""Errors of sockets, values and annotations. No message contains a value, or a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.calls import UsageError
from warehouse.errors.root import near

if TYPE_CHECKING:
    from collections.abc import Iterable


class ComponentError(UsageError):
    """A socket, a value or a set of values is invalid."""


class UnknownKind(ComponentError, LookupError):
    """No kind of socket has that code or label."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"no kind of socket is named {name!r}; {near(name, known)}. "
            "The view kinds lists all with their labels"
        )


class UnknownSocket(ComponentError, LookupError):
    """No socket has that slug."""

    def __init__(self, slug: str, known: Iterable[str]) -> None:
        super().__init__(f"no socket has the slug {slug!r}; {near(slug, known)}")


class UnknownValue(ComponentError, LookupError):
    """No value, or no set of values, has that id."""


class SocketRefused(ComponentError):
    """The definition of a socket is invalid; ``field`` is the wrong field."""

    def __init__(self, field: str, why: str) -> None:
        self.field = field
        super().__init__(f"the socket is refused: {field} {why}")


class SchemaRefused(ComponentError):
    """The JSON Schema of a socket is invalid, or refers to something outside of it."""


class ValueRefused(ComponentError):
    """A value is invalid for its socket.

    ``path`` is the JSON path of the first error, such as ``$.corners[2]``; ``$`` is the value.
    """

    def __init__(self, why: str, path: str = "$") -> None:
        self.why = why
        self.path = path
        super().__init__(f"the value is refused: {'' if path == '$' else f'{path}: '}{why}")


class ImageRefused(ValueRefused):
    """A file is not an image of the kind of its socket, or is inconsistent."""
