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

    A number that JSON does not have (NaN, infinity) is null, and a byte of a path that is no UTF-8
    is ``\udcff``, as on a terminal. Nothing in it controls a terminal.

    Raises
    ------
    TypeError
        A value is none of JSON's and no path, date, time or array: a mistake of the command.
    """
    text = json.dumps(
        strict(facts), allow_nan=False, ensure_ascii=False, indent=2 if indented else None
    )
    send_text(f"{json_text(text)}\n")


def strict(value: Any) -> Any:
    r"""Return a value in the types of JSON.

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
    raise TypeError(f"{type(value).__name__} is no JSON")
