"""Strict parsing and canonical serialization of JSON values.

In: untrusted bytes. Out: Python values, or ``ValueRefused``. Text that JSON parsers read
differently is refused: NaN and Infinity, numbers beyond float64, duplicate keys, a byte order mark,
text that is not UTF-8, lone surrogates, and nesting beyond ``MAX_NESTING``. The canonical form has
sorted keys and no spaces, so that equal values have one digest.
"""

from __future__ import annotations

import json
import math
import re
import sys
from typing import Any

from warehouse.errors import ValueRefused

MAX_NESTING = 200
"""Levels of lists and objects; the deepest documented kind has 6, a chart some 20."""

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_BOM = b"\xef\xbb\xbf"


def parse(content: bytes, *, null_not_finite: bool = False) -> Any:
    """Parse a JSON text.

    Parameters
    ----------
    content
        The text in UTF-8.
    null_not_finite
        Read NaN, Infinity and numbers beyond float64 as null, as Grand Challenge does for outputs
        of jobs; by default they are refused.

    Raises
    ------
    ValueRefused

    Examples
    --------
    >>> parse(b'{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    if content.startswith(_BOM):
        raise ValueRefused("it begins with a byte order mark; save it as UTF-8 without one")

    def constant(name: str) -> None:
        if not null_not_finite:
            raise ValueRefused(
                f"it contains {name}, which is not JSON; write null, or use null_not_finite"
            )

    def real(text: str) -> float | None:
        number = float(text)
        if math.isinf(number):
            if null_not_finite:
                return None
            raise ValueRefused("it contains a number beyond the range of float64")
        return number

    try:
        text = content.decode()
        value = json.loads(
            text, parse_constant=constant, parse_float=real,
            object_pairs_hook=_without_duplicates,
        )  # fmt: skip
    except ValueRefused:
        raise
    except UnicodeError:
        raise ValueRefused("it is not UTF-8 text") from None
    except RecursionError:
        raise ValueRefused(_too_deep()) from None
    except json.JSONDecodeError as error:
        raise ValueRefused(
            f"it is not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        ) from None
    except ValueError:  # an integer of thousands of digits
        raise ValueRefused("it contains an integer with too many digits") from None
    require_nesting(value)
    require_characters(value, text)
    return value


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueRefused("an object has the same key twice")
    return unique


def require_characters(value: Any, text: str, begin: int = 0, end: int = sys.maxsize) -> None:
    r"""Check that a value, parsed from a part of a JSON text, contains no lone surrogate.

    Raises
    ------
    ValueRefused

    Examples
    --------
    >>> require_characters("\U0001f600", r'"\ud83d\ude00"')
    """
    # Only an escape sequence can yield one: the text itself was UTF-8.
    if _SURROGATE.search(text, begin, end):
        canonical(value)


def _too_deep() -> str:
    return f"lists and objects are nested more than {MAX_NESTING} levels deep"


def require_nesting(value: Any, limit: int = MAX_NESTING) -> None:
    """Check the nesting depth of lists and objects, without recursion.

    Raises
    ------
    ValueRefused
    """
    level = [value]
    depth = 0
    while level:
        next_level: list[Any] = []
        for entry in level:
            if isinstance(entry, dict):
                next_level += [v for v in entry.values() if isinstance(v, dict | list)]
            elif isinstance(entry, list):
                next_level += [v for v in entry if isinstance(v, dict | list)]
        depth += 1
        if depth > limit:
            raise ValueRefused(_too_deep())
        level = next_level


def canonical(value: Any) -> str:
    """Return the JSON text of a Python value: sorted keys, no spaces, characters as they are.

    Raises
    ------
    ValueRefused
        JSON cannot represent it, such as a date or an array.

    Examples
    --------
    >>> canonical({"b": 1, "a": [True, None]})
    '{"a":[true,null],"b":1}'
    """
    try:
        text = json.dumps(
            value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
        )
        text.encode()
    except RecursionError:
        raise ValueRefused(_too_deep()) from None
    except UnicodeError:
        raise ValueRefused("a text contains a lone surrogate, which is not a character") from None
    except ValueError:
        raise ValueRefused("it contains NaN or Infinity, which JSON does not have") from None
    except TypeError:
        raise ValueRefused(
            "it contains something that JSON does not have; use lists, objects, texts, numbers, "
            "true, false and null"
        ) from None
    return text
