"""Print the report of a command as one JSON document."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from pathlib import Path
from typing import Any

from warehouse.cli.screen import send_text
from warehouse.escape import json_text


def send_document(facts: object, *, indented: bool = False) -> None:
    r"""Print a report as one strict JSON document: on one line, or indented for people.

    Numbers that JSON does not have (NaN, infinity) become null, and a byte of a path that is not
    UTF-8 becomes ``\udcff``, as on a terminal. Control characters are escaped.

    Raises
    ------
    TypeError
        A value is not of a JSON type, a path, a date, a time or an array: a bug of the command.
    """
    text = json.dumps(
        strict(facts), allow_nan=False, ensure_ascii=False, indent=2 if indented else None
    )
    send_text(f"{json_text(text)}\n")


def strict(value: Any) -> Any:
    r"""Convert a value to JSON types.

    Examples
    --------
    >>> strict({"b": [float("nan"), 0.5], "at": Path("a/\udcff")})
    {'b': [None, 0.5], 'at': 'a/\\udcff'}
    """
    match value:
        case None | bool() | int():
            return value
        case float() | Decimal():
            return float(value) if math.isfinite(value) else None
        case str() | Path():
            return str(value).encode("utf-8", "backslashreplace").decode()
        case dict():
            return {strict(str(name)): strict(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [strict(each) for each in value]
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return strict(value.tolist())
    raise TypeError(f"{type(value).__name__} is not a JSON type")
