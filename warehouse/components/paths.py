"""Validate the relative path of a socket below /input and /output.

In: a relative path written by a user. Out: nothing, or ``SocketRefused``. In addition to the rules
of Grand Challenge, a path must not be a parent of another one, and paths that differ only in case
or Unicode normalization are equal, as in many file systems.
"""

from __future__ import annotations

import posixpath
import re
import unicodedata
from typing import TYPE_CHECKING

from warehouse.errors import SocketRefused

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.components.kinds import Kind

RESERVED = ("inputs.json",)
"""Files that the platform writes beside the inputs."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_FIELD = "relative_path"


def require_path(path: str, kind: Kind) -> None:
    """Check the relative path of a socket of a kind.

    Raises
    ------
    SocketRefused

    Examples
    --------
    >>> from warehouse.components.kinds import find_kind
    >>> require_path("lung/volume.json", find_kind("FLT"))
    >>> require_path("../volume.json", find_kind("FLT"))
    Traceback (most recent call last):
    warehouse.errors.components.SocketRefused: the socket is refused: relative_path has to be ...
    """
    if not path or len(path) > 255:
        raise SocketRefused(_FIELD, "needs 1 to 255 characters")
    if any(
        unicodedata.category(character) in {"Cc", "Cs"} or character == "\\" for character in path
    ):
        raise SocketRefused(_FIELD, "must not contain control characters or backslashes")
    if (
        path.startswith("/")
        or posixpath.normpath(path) != path
        or path.split("/", maxsplit=1)[0] == ".."
    ):
        raise SocketRefused(
            _FIELD,
            "has to be a plain path: no leading, trailing or double slash, no . or ..",
        )
    if key(path) in map(key, RESERVED):
        raise SocketRefused(_FIELD, f"must not be {RESERVED[0]}, which the platform writes")
    if _UUID.search(path):
        raise SocketRefused(_FIELD, "must not contain a UUID: folders of jobs have such names")
    folder, name = posixpath.split(path)
    if kind.is_image:
        if not path.startswith("images/") or not folder:
            raise SocketRefused(_FIELD, "of an image has to begin with images/")
        if "." in name:
            raise SocketRefused(_FIELD, "of an image names a folder: its last part has no suffix")
        return
    if key(path).split("/")[0] == "images":
        raise SocketRefused(_FIELD, "must not begin with images/, which is for kinds of images")
    if not name.endswith(kind.extension) or name == kind.extension:
        raise SocketRefused(
            _FIELD, f"of kind {kind.label} has to end in a name with {kind.extension}"
        )


def require_apart(path: str, others: Iterable[str]) -> None:
    """Check that a path neither equals another one, nor contains it or is contained in it.

    Raises
    ------
    SocketRefused
    """
    key_of_path = key(path)
    for other in others:
        key_of_other = key(other)
        if key_of_path == key_of_other:
            raise SocketRefused(_FIELD, "is that of another socket, or differs only in case")
        if key_of_path.startswith(f"{key_of_other}/") or key_of_other.startswith(f"{key_of_path}/"):
            raise SocketRefused(_FIELD, "and that of another socket are a folder and a file in it")


def key(path: str) -> str:
    """Return a path case-folded and in NFC, for comparison.

    >>> key("Foo/BAR.json")
    'foo/bar.json'
    """
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", path).casefold())
