"""Validate JSON values by the schemas of their kind and socket, without network access.

In: Python values from ``json_text``. Out: nothing, or the first error with its JSON path. The
schema of a socket is written by a user: it may refer to itself only, and if validation may take
long (references that multiply), it runs in a process that is killed after ``SCHEMA_SECONDS``.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.components import json_text, schemas
from warehouse.errors import NotInstalled, SchemaRefused, ValueRefused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from warehouse.components.kinds import Kind

SCHEMA_SECONDS = 10
"""Time limit for the values that a socket's schema validates in one call, in seconds."""

MAX_SCHEMA_NESTING = 64
MAX_STEPS = 20_000_000
"""Largest product of subschemas and characters of values to validate in this process."""

MAX_COMPILED = 10_000
"""Largest number of subschemas to compile in this process."""

DRAFTS = {
    "http://json-schema.org/draft-07/schema": "Draft7Validator",
    "http://json-schema.org/draft-06/schema": "Draft6Validator",
    "http://json-schema.org/draft-04/schema": "Draft4Validator",
}
"""``$schema`` → validator; draft 7 is the default. The library has no draft 3."""


def _library() -> Any:
    try:
        import jsonschema_rs  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotInstalled("checking JSON values", "jsonschema-rs", "components") from None
    return jsonschema_rs


def _refuse(uri: str) -> None:
    raise ValueError(f"{uri} is not read: a schema may refer to itself only")


def _compiled(draft: str, schema: Any) -> Any:
    library = _library()
    return getattr(library, draft)(
        schema, retriever=_refuse, mask="it",
        pattern_options=library.FancyRegexOptions(backtrack_limit=100_000),
    )  # fmt: skip


@cache
def of_kind(code: str) -> Any:
    """Return the validator of a JSON kind."""
    return _compiled("Draft7Validator", schemas.kind_schema(code))


@cache
def of_items(code: str) -> Any:
    """Return the validator of a list of items of a Multiple* kind, by the kind of their shape."""
    return _compiled("Draft7Validator", {"type": "array", "items": schemas.item_schema(code)})


def require_schema(schema: Any) -> None:
    """Check that the schema of a socket is valid for its draft and refers only to itself.

    Raises
    ------
    SchemaRefused

    Examples
    --------
    >>> require_schema({"type": "integer", "minimum": 2})
    >>> require_schema({"type": "whatevs"})
    Traceback (most recent call last):
    warehouse.errors.components.SchemaRefused: the schema is not valid: ...
    """
    if not isinstance(schema, dict):
        raise SchemaRefused("the schema is not valid: it has to be a JSON object")
    try:
        json_text.require_nesting(schema, MAX_SCHEMA_NESTING)
    except ValueRefused:
        raise SchemaRefused(
            f"the schema is nested more than {MAX_SCHEMA_NESTING} levels deep"
        ) from None
    draft, text = _draft(schema), json_text.canonical(schema)
    if _subschemas(text) > MAX_COMPILED:
        _validate_in_process(draft, text, [])
        return
    try:
        _schema_validator(draft, text)
    except ValueError as error:
        raise SchemaRefused(f"the schema is not valid: {str(error).splitlines()[0]}") from None


def _draft(schema: dict[str, Any]) -> str:
    """Return the name of the validator for the draft of a schema."""
    dialect = schema.get("$schema")
    if dialect is None:
        return "Draft7Validator"
    key = str(dialect).rstrip("#").replace("https://", "http://")
    if key not in DRAFTS:
        raise SchemaRefused(
            "the draft of the schema is unknown; write it in draft 4, 6 or 7 "
            "(draft 3 is not supported by the validator)"
        )
    return DRAFTS[key]


def json_path(parts: Sequence[str | int]) -> str:
    """Return the JSON path of a part of a value.

    >>> json_path(["boxes", 2, "two words"])
    '$.boxes[2]["two words"]'
    """
    text = "$"
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.isidentifier():
            text += f".{part}"
        else:
            text += f"[{json.dumps(part)}]"
    return text


def first_error(validator: Any, value: Any) -> ValueRefused | None:
    """Return the first error that a validator finds; it quotes no part of the value."""
    try:
        error = next(validator.iter_errors(value), None)
    except (ValueError, RecursionError, OverflowError):
        return ValueRefused("it cannot be validated: it is nested too deep or not JSON")
    if error is None:
        return None
    return ValueRefused(error.message, json_path(error.instance_path))


def require_valid(
    kind: Kind, schema: dict[str, Any], value: Any, *,
    is_required: bool = True, strict: bool = False,
) -> None:  # fmt: skip
    """Validate a value by its kind and by the schema of its socket.

    Parameters
    ----------
    kind
        A kind of JSON.
    schema
        The schema of the socket, which ``require_schema`` accepted.
    value
        Value that ``json_text.parse`` returned.
    is_required
        If false, null is valid for every kind.
    strict
        Also check geometry: a box has right angles, an affine matrix ends in 0 0 0 1.

    Raises
    ------
    ValueRefused
        With the JSON path of the first error.
    """
    if value is None and not is_required:
        return
    if error := first_error(of_kind(kind.code), value):
        raise error
    if kind.code == "FLT" and isinstance(value, int) and abs(value) > sys.float_info.max:
        raise ValueRefused("it is a number beyond the range of float64")
    if schema and (error := first_of_schema(schema, [value])[0]):
        raise error
    if strict:
        _require_geometry(kind, value)


def first_of_schema(
    schema: dict[str, Any], values: Sequence[Any]
) -> list[ValueRefused | None]:  # fmt: skip
    """Return the first error of each value by the schema of a socket."""
    text = json_text.canonical(schema)
    texts = [json_text.canonical(value) for value in values]
    draft = _draft(schema)
    if _subschemas(text) * sum(map(len, texts)) <= MAX_STEPS:
        validator = _schema_validator(draft, text)
        return [first_error(validator, value) for value in values]
    answers = _validate_in_process(draft, text, texts)
    return [ValueRefused(answer[1], json_path(answer[0])) if answer else None for answer in answers]


@lru_cache(maxsize=64)
def _schema_validator(draft: str, text: str) -> Any:
    return _compiled(draft, json.loads(text))


def _validate_in_process(draft: str, schema: str, instances: list[str]) -> list[Any]:
    """Validate in a separate process, which is killed if it takes too long."""
    _library()
    request = {"draft": draft, "schema": json.loads(schema), "instances": instances}
    program = Path(__file__).with_name("guarded.py")
    exceeded = f"it took more than {SCHEMA_SECONDS} s, or too much memory; write a simpler schema"
    try:
        completed = subprocess.run(  # noqa: S603 - our own program, and no shell
            [sys.executable, "-I", str(program)],
            input=json.dumps(request), capture_output=True, text=True, check=False,
            timeout=SCHEMA_SECONDS,
        )  # fmt: skip
        answer = json.loads(completed.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        if instances:
            raise ValueRefused(
                f"it cannot be validated by the schema of its socket: {exceeded}"
            ) from None
        raise SchemaRefused(f"the schema cannot be read: {exceeded}") from None
    if "refused" in answer:
        raise SchemaRefused(f"the schema is not valid: {answer['refused']}")
    answers: list[Any] = answer["answers"]
    return answers


@lru_cache(maxsize=64)
def _subschemas(text: str) -> float:
    """Return the number of subschemas after expanding references; infinite if they are recursive.

    Each subschema is applied at most once to each part of a value, so the product of both numbers
    is an upper bound of the work. Entries of an ``enum`` and patterns count too: see
    ``_comparisons`` and ``_matches``.
    """
    schema = json.loads(text)
    counts: dict[str, float] = {}

    def count_in(node: Any) -> float:
        if isinstance(node, list):
            return sum(map(count_in, node))
        if not isinstance(node, dict):
            return 0
        count: float = 1 + sum(map(count_in, node.values()))
        count += _comparisons(node.get("enum")) + _matches(node)
        target = node.get("$ref")
        return count + count_of(target) if isinstance(target, str) else count

    def count_of(target: str) -> float:
        if target not in counts:
            counts[target] = math.inf  # while it is counted: a reference to itself is infinite
            counts[target] = count_in(_resolved(schema, target))
        return counts[target]

    try:
        return count_in(schema)
    except RecursionError:
        return math.inf


def _comparisons(enum: Any) -> int:
    """Return the work of an ``enum``, as a number of subschemas.

    The library finds texts and integers by their hash, and compares others one by one; a number
    with a fraction takes several microseconds, ten times as long as a subschema.
    """
    if not isinstance(enum, list) or {type(entry) for entry in enum} in ({str}, {int}):
        return 0
    return 10 * len(enum)


def _matches(node: dict[str, Any]) -> int:
    """Return the work of the patterns of a schema, as a number of subschemas.

    One with a backreference may take the 100,000 steps of ``_compiled`` for each short text of a
    list: some 1.7 ms.
    """
    properties = node.get("patternProperties")
    count = len(properties) if isinstance(properties, dict) else 0
    return 500 * (count + isinstance(node.get("pattern"), str))


def _resolved(schema: Any, target: str) -> Any:
    """Resolve a reference like ``#/definitions/a``; return a recursive one for any other."""
    recursive = {"$ref": target}
    if not target.startswith("#/"):
        return recursive
    for part in target[2:].split("/"):
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(schema, dict) and key in schema:
            schema = schema[key]
        elif isinstance(schema, list) and key.isdecimal() and int(key) < len(schema):
            schema = schema[int(key)]
        else:
            return recursive
    return schema


def _require_geometry(kind: Kind, value: Any) -> None:
    if kind.code == "ATRG" and value["3d_affine_transform"][3] != [0, 0, 0, 1]:
        raise ValueRefused(
            "the last row of an affine matrix is 0 0 0 1", "$.3d_affine_transform[3]"
        )
    boxes = {"2DBB": lambda: [(value, "$")], "M2DB": lambda: _boxes(value)}
    for box, path in boxes.get(kind.code, list)():
        if not _is_rectangle(box["corners"]):
            raise ValueRefused("the corners do not form a rectangle", f"{path}.corners")


def _boxes(value: Any) -> list[tuple[Any, str]]:
    return [(box, f"$.boxes[{number}]") for number, box in enumerate(value["boxes"])]


def _is_rectangle(corners: list[list[float]], tolerance: float = 1e-6) -> bool:
    """Return whether four corners, in order, form a rectangle."""
    a, b, c, d = corners
    size = max(math.dist(a, c), math.dist(b, d))
    centers = math.dist(
        [(x + y) / 2 for x, y in zip(a, c, strict=True)],
        [(x + y) / 2 for x, y in zip(b, d, strict=True)],
    )
    return (
        centers <= tolerance * size and abs(math.dist(a, c) - math.dist(b, d)) <= tolerance * size
    )
