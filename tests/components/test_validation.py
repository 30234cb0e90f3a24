"""What each kind of JSON takes and refuses: the vectors of Grand Challenge's documentation and source.

Corrected against the original, on purpose: NaN is no number, a chart needs no network, and null is
valid for every optional socket (the original refuses it for kind Anything).
"""

from __future__ import annotations

import copy
import json
import socket as network
import time
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import warehouse
from warehouse.components import json_text, validate
from warehouse.components.examples import EXAMPLES
from warehouse.components.kinds import find_kind, groups, kinds
from warehouse.components.schemas import kind_schema
from warehouse.errors import SchemaRefused, ValueRefused

DOCUMENTED = json.loads(Path(__file__).with_name("documented_examples.json").read_text())
"""The examples that both editions of the documentation print (Apache-2.0)."""

VERSION = {"major": 1, "minor": 0}
P = [1, 2, 3]


def valid(code: str, value: Any, schema: dict[str, Any] | None = None, **options: Any) -> bool:
    try:
        parsed = json_text.parse(json.dumps(value).encode())
        validate.require_valid(find_kind(code), schema or {}, parsed, **options)
    except ValueRefused:
        return False
    return True


@pytest.mark.acceptance("G10")
@pytest.mark.acceptance("G17")
@pytest.mark.parametrize("code", sorted(groups()["json"]))
@pytest.mark.parametrize("examples", [DOCUMENTED, EXAMPLES], ids=["documented", "own"])
def test_examples_of_every_kind_are_valid(examples: dict[str, Any], code: str) -> None:
    assert valid(code, examples[code])


def a(code: str, **changes: Any) -> dict[str, Any]:
    """The documented example with entries changed, or left out where they are None."""
    made = copy.deepcopy(DOCUMENTED[code]) | changes
    return {key: entry for key, entry in made.items() if entry is not None}


def item(code: str, **changes: Any) -> dict[str, Any]:
    """The documented example of a list of shapes with its first shape changed."""
    made = copy.deepcopy(DOCUMENTED[code])
    first = made[find_kind(code).items_key][0]
    first.update(changes)
    return made


ACCEPTED = [
    ("STR", ""), ("STR", "text"), ("INT", 42), ("INT", 42.0), ("INT", -1), ("FLT", 42), ("FLT", 0.5),
    ("FLT", 1e300), ("BOOL", False), ("JSON", None), ("JSON", [1, "a", {}]), ("CHOI", "x"),
    ("MCHO", []), ("MCHO", ["a", "a"]), ("INT", 10**30),
    ("ATRG", a("ATRG") | {"more": 1}),
    ("2DBB", a("2DBB", name=None, probability=None)), ("2DBB", a("2DBB", probability=0)),
    ("2DBB", a("2DBB", probability=1)), ("2DBB", a("2DBB", version={"major": 1.0, "minor": 0})),
    ("2DBB", a("2DBB", corners=[P] * 4)),
    ("POLY", a("POLY", path_points=[])), ("POLY", a("POLY", groups=["x", "x"])),
    ("LINE", a("LINE", seed_points=[], path_point_lists=[[], [P]])),
    *[(code, a(code, **{find_kind(code).items_key: []})) for code in kinds() if find_kind(code).items_key],
    *[(code, item(code, type=find_kind(find_kind(code).item_kind).label)) for code in kinds() if find_kind(code).items_key],
]  # fmt: skip

REFUSED = [
    ("STR", 1), ("STR", None), ("INT", 42.1), ("INT", True), ("INT", "1"), ("FLT", "1"),
    ("FLT", True), ("FLT", None), ("BOOL", 1), ("BOOL", "true"), ("CHOI", 1), ("CHOI", ["a"]),
    ("MCHO", "a"), ("MCHO", [1]), ("CHART", {"a": 1}), ("CHART", {"mark": 3}), ("CHART", []),
    ("ATRG", {}), ("ATRG", {"3d_affine_transform": [[1, 0, 0, 0]] * 3}),
    ("ATRG", {"3d_affine_transform": [[1, 0, 0]] * 4}),
    ("ATRG", {"3d_affine_transform": [["1", 0, 0, 0]] * 4}),
    *[(code, a(code, version=None)) for code in kinds() if find_kind(code).is_annotation],
    *[(code, a(code, type=None)) for code in kinds() if find_kind(code).is_annotation],
    *[(code, a(code, type="Other")) for code in kinds() if find_kind(code).is_annotation],
    *[(code, a(code, more=1)) for code in kinds() if find_kind(code).is_annotation],
    *[(code, a(code, name=1)) for code in kinds() if find_kind(code).is_annotation],
    *[(code, DOCUMENTED[code] | {"name": None}) for code in kinds() if find_kind(code).is_annotation],
    *[(code, a(code, version=v)) for code in ("POIN", "MPOI")
      for v in ({"major": 1}, {"major": 1, "minor": -1}, {"major": 1.5, "minor": 0},
                {"major": "1", "minor": 0}, {"major": 1, "minor": 0, "patch": 0})],
    *[(code, a(code, probability=p)) for code in kinds()
      if find_kind(code).is_annotation and not find_kind(code).item_kind for p in (1.1, -0.1, "1")],
    *[(code, a(code, probability=0.5)) for code in kinds() if find_kind(code).items_key],
    *[(code, item(code, **{key: entry})) for code in kinds() if find_kind(code).items_key
      for key, entry in (("version", VERSION), ("type", "Other"), ("more", 1), ("probability", 2))],
    ("2DBB", a("2DBB", corners=[P] * 3)), ("2DBB", a("2DBB", corners=[P] * 5)),
    ("2DBB", a("2DBB", corners=[[1, 2]] * 4)), ("2DBB", a("2DBB", corners=[["1", 2, 3]] * 4)),
    ("DIST", a("DIST", start=None)), ("DIST", a("DIST", end=[1, 2])), ("POIN", a("POIN", point=[P])),
    ("POLY", a("POLY", seed_point=None)), ("POLY", a("POLY", sub_type=None)),
    ("POLY", a("POLY", groups=None)), ("POLY", a("POLY", groups=[1])),
    ("POLY", a("POLY", path_points=[[1, 2]])), ("LINE", a("LINE", seed_points=P)),
    ("LINE", a("LINE", path_point_lists=[P])), ("ANGL", a("ANGL", lines=[[P, P]])),
    ("ANGL", a("ANGL", lines=[[P, P], [P]])), ("ELLI", a("ELLI", major_axis=[P])),
    ("ELLI", a("ELLI", minor_axis=[P, P, P])), ("3ANG", a("3ANG", angle=[P, P])),
    ("3ANG", a("3ANG", angle=[P] * 4)),
]  # fmt: skip


@pytest.mark.acceptance("G17")
def test_every_vector_of_the_documentation() -> None:
    assert len(ACCEPTED) + len(REFUSED) > 100
    assert [(code, value) for code, value in ACCEPTED if not valid(code, value)] == []
    assert [(code, value) for code, value in REFUSED if valid(code, value)] == []


def test_a_float_is_one_of_64_bits() -> None:
    # 1e400 was refused, and the integer 10**400 was infinite in the columns of outputs.
    assert valid("FLT", -(10**300))
    assert valid("INT", 10**400)
    for number in (10**400, -(10**400)):
        assert not valid("FLT", number)


@pytest.mark.acceptance("G17")
def test_another_validator_judges_the_same() -> None:
    """jsonschema of PyPI; it would take 8 s for the chart, which has 456 definitions."""
    for vectors, wanted in ((ACCEPTED, True), (REFUSED, False)):
        for code, value in vectors:
            if code != "CHART":
                judged = jsonschema.Draft7Validator(kind_schema(code)).is_valid(value)
                assert judged is wanted, (code, value)


@pytest.mark.acceptance("G17")
def test_nothing_reaches_for_the_network_or_for_files(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(network, "socket", refuse)
    monkeypatch.setattr(network, "create_connection", refuse)
    validate.of_kind.cache_clear()
    assert valid("CHART", DOCUMENTED["CHART"])
    other = tmp_path / "other.json"
    other.write_text('{"type": "integer"}')
    for uri in (
        other.as_uri(),
        str(other),
        "http://127.0.0.1:9/a",
        "https://example.org/a",
        "a.json",
    ):
        for schema in ({"$ref": uri}, {"$id": "http://127.0.0.1:9/b", "items": {"$ref": uri}}):
            with pytest.raises(SchemaRefused, match="not valid"):
                validate.require_schema(schema)
            with pytest.raises(ValueError, match=r"."):
                validate._compiled("Draft7Validator", schema)


@pytest.mark.acceptance("G17")
def test_no_connection_is_made_by_the_library_itself() -> None:
    """Whatever Python's socket is patched with, compiled code has its own: a listener sees it."""
    with network.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.3)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(SchemaRefused):
            validate.require_schema({"properties": {"a": {"$ref": url}}})
        with pytest.raises(TimeoutError):
            server.accept()


@pytest.mark.acceptance("G18")
@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b'{"a": -Infinity}', b"1e999", b"-1e999"])
def test_numbers_that_are_none_are_refused_or_nulled(text: bytes) -> None:
    with pytest.raises(ValueRefused):
        json_text.parse(text)
    assert "null" in json_text.canonical(json_text.parse(text, null_not_finite=True))
    with pytest.raises(ValueRefused):
        json_text.canonical(float("nan"))


@pytest.mark.acceptance("G18")
def test_files_with_nan_are_nulled_on_request(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    parts = wh.components
    parts.create_socket(title="A", kind="JSON", relative_path="a.json")
    parts.create_socket(title="B", kind="JSON", relative_path="b.json", store_in_database=False)
    (tmp_path / "nan.json").write_text('{"b": [NaN, 1], "a": Infinity}')
    for slug in ("a", "b"):
        with pytest.raises(ValueRefused, match="NaN"):
            parts.add_value(slug, file=tmp_path / "nan.json")
        added = parts.add_value(slug, file=tmp_path / "nan.json", null_not_finite=True)
        assert parts.value(added.value_id) == {"b": [None, 1], "a": None}
    assert [c.why_not for c in parts.check("b")] == [None]


@pytest.mark.acceptance("G19")
def test_kind_and_schema_both_count() -> None:
    assert not valid("INT", 1, {"minimum": 2})
    assert valid("INT", 5, {"minimum": 2})
    assert not valid("INT", 5.5, {"minimum": 2})
    four = {"$schema": "http://json-schema.org/draft-04/schema#", "type": "integer"}
    assert not valid("FLT", 42.0, four), "42.0 is no integer of draft 4"
    assert valid("FLT", 42.0, {**four, "$schema": "http://json-schema.org/draft-06/schema#"})
    assert not valid("MPOI", DOCUMENTED["MPOI"], {"properties": {"points": {"maxItems": 1}}})


@pytest.mark.acceptance("G19")
@pytest.mark.parametrize("code", sorted(groups()["json"]))
def test_null_is_valid_for_every_optional_socket(code: str) -> None:
    assert valid(code, None, is_required=False)
    assert valid(code, DOCUMENTED[code], is_required=False)
    assert valid(code, None) is (code == "JSON")


@pytest.mark.acceptance("G31")
def test_affine_matrices_and_boxes_are_checked_strictly_on_request() -> None:
    skewed = {"3d_affine_transform": [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [13, 14, 15, 16]]}
    assert valid("ATRG", DOCUMENTED["ATRG"], strict=True)
    assert valid("ATRG", skewed)
    assert not valid("ATRG", skewed, strict=True)
    assert valid("2DBB", DOCUMENTED["2DBB"], strict=True)
    crossed = a("2DBB", corners=[[0, 0, 0], [1, 1, 0], [1, 0, 0], [0, 1, 0]])
    assert valid("2DBB", crossed)
    assert not valid("2DBB", crossed, strict=True)


def test_the_error_says_where_and_holds_no_value() -> None:
    secret = "MUELLER^HANS"
    box = a("2DBB", corners=[P, P, [1, secret, 3], P])
    with pytest.raises(ValueRefused) as caught:
        validate.require_valid(find_kind("2DBB"), {}, box)
    assert caught.value.path == "$.corners[2][1]"
    assert "$.corners[2][1]: it is not of type" in str(caught.value)
    assert secret not in str(caught.value)
    with pytest.raises(ValueRefused) as caught:
        validate.require_valid(find_kind("STR"), {"enum": ["a"]}, secret)
    assert secret not in str(caught.value)


# -- hostile text ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [(b"[" * 2000 + b"]" * 2000, "nested"), (b'{"a":' * 2000 + b"1" + b"}" * 2000, "nested"),
     (b"[" * 100_000, "nested"), (b'{"a": 1, "a": 2}', "same key twice"),
     (b'[{"b": {"a": 1, "a": 1}}]', "same key twice"), (b"\xef\xbb\xbf1", "byte order mark"),
     (b"\xff", "UTF-8"), (b"", "not JSON"), (b"[1,]", "not JSON"), (b"1 2", "not JSON"),
     (b"9" * 5000, "digits"), (b"'a'", "not JSON")],
)  # fmt: skip
def test_text_that_is_refused(text: bytes, why: str) -> None:
    with pytest.raises(ValueRefused, match=why):
        json_text.parse(text)


@pytest.mark.parametrize("text", [rb'"\ud800"', rb'{"\uDFFF": 1}', rb'["\ude00\ud83d"]'])
def test_half_a_surrogate_pair_is_no_text(text: bytes) -> None:
    with pytest.raises(ValueRefused, match="surrogate"):
        json_text.parse(text)
    with pytest.raises(ValueRefused, match="surrogate"):
        json_text.canonical(json.loads(text))


def test_a_whole_surrogate_pair_and_an_escaped_backslash_are_text() -> None:
    assert json_text.parse(rb'["\ud83d\ude00", "\\ud800"]') == ["\U0001f600", "\\ud800"]


def doubling(levels: int) -> dict[str, Any]:
    """A schema that takes 2 ** levels steps, for a value of one number."""
    definitions: dict[str, Any] = {
        f"a{n}": {"anyOf": [{"$ref": f"#/definitions/a{n + 1}"}] * 2} for n in range(levels)
    }
    definitions[f"a{levels}"] = {"type": "string"}
    return {"definitions": definitions, "$ref": "#/definitions/a0"}


def test_a_schema_that_takes_exponential_time_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not valid("INT", 3, doubling(6))
    monkeypatch.setattr(validate, "SCHEMA_SECONDS", 0.3)
    validate.require_schema(doubling(60))
    begin = time.monotonic()
    with pytest.raises(ValueRefused, match=r"more than 0\.3 s"):
        validate.require_valid(find_kind("INT"), doubling(60), 3)
    assert time.monotonic() - begin < 20


def test_a_list_of_numbers_to_choose_from_takes_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The validator compares each number of the value with each one of the enum, in microseconds.
    numbers = [n / 7 for n in range(2000)]
    schema = {"items": {"enum": numbers}}
    assert valid("JSON", [numbers[0]], schema)
    assert valid("JSON", ["z"] * 2000, {"items": {"enum": [*map(str, range(2000)), "z"]}})
    monkeypatch.setattr(validate, "SCHEMA_SECONDS", 1)
    with pytest.raises(ValueRefused, match="more than 1 s"):
        validate.require_valid(find_kind("JSON"), schema, [numbers[-1]] * 2000)


def test_a_schema_that_refers_to_itself_works_in_a_process_of_its_own() -> None:
    tree = {"properties": {"next": {"$ref": "#"}}, "required": ["n"]}
    assert valid("JSON", {"n": 1, "next": {"n": 2}}, tree)
    assert not valid("JSON", {"n": 1, "next": {}}, tree)


def test_patterns_take_bounded_time() -> None:
    begin = time.monotonic()
    for pattern in ("^(a+)+$", r"^(a|a)*\1b(?=c)$"):
        valid("STR", "a" * 60 + "!", {"pattern": pattern})
    assert time.monotonic() - begin < 5
    with pytest.raises(SchemaRefused):
        validate.require_schema({"pattern": "("})


@pytest.mark.parametrize("name", ["text", "key"])
def test_patterns_of_many_texts_take_bounded_time(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # Each text takes nearly as many steps as one may, more than a millisecond.
    pattern, texts = r"^(?:(a|aa)+)\1b$", [f"{'a' * 21}{n:05}" for n in range(8000)]
    of_text: dict[str, Any] = {"items": {"not": {"type": "string", "pattern": pattern}}}
    of_key: dict[str, Any] = {"patternProperties": {pattern: False}}
    schema, value = (of_text, texts) if name == "text" else (of_key, dict.fromkeys(texts, 1))
    monkeypatch.setattr(validate, "SCHEMA_SECONDS", 0.5)
    with pytest.raises(ValueRefused, match=r"more than 0\.5 s"):
        validate.require_valid(find_kind("JSON"), schema, value)


def test_schemas_that_are_too_deep_are_refused() -> None:
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"items": deep}
    with pytest.raises(SchemaRefused, match="nested"):
        validate.require_schema(deep)
