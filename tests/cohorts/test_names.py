"""Names of exported files stay inside their folder and apart from each other."""

from __future__ import annotations

from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.cohorts.names import FIELDS, TEMPLATE, check_template, fill, safe_name
from warehouse.errors import UsageError

HOSTILE = st.text(st.characters(codec="utf-8") | st.sampled_from("./\\:~ \0CON"), max_size=20)


@given(HOSTILE)
def test_a_name_is_one_plain_part_of_a_path(value: str) -> None:
    name = safe_name(value)
    assert PurePosixPath(name).parts == PureWindowsPath(name).parts == (name,)
    assert name not in {"", ".", ".."}
    assert not name.startswith((".", "-"))
    assert not PureWindowsPath(name).is_reserved()
    assert len(name.encode()) <= 120
    assert name.isascii()


@pytest.mark.acceptance("D11")
@given(HOSTILE, HOSTILE)
def test_two_values_have_two_names_whatever_the_case(one: str, other: str) -> None:
    if one != other:
        assert safe_name(one).lower() != safe_name(other).lower()


@pytest.mark.parametrize(
    "pair", [("A/B", "A_B"), ("p1", "P1"), ("x" * 300, "x" * 301), ("", "unnamed"), (".x", "x")]
)
def test_values_that_look_alike(pair: tuple[str, str]) -> None:
    assert len({safe_name(value).lower() for value in pair}) == 2


@pytest.mark.parametrize("uid", ["1.2.840.10008", "1.2.3.4.5.6.7.8.9." + "1" * 46])
def test_a_uid_is_its_own_name(uid: str) -> None:
    assert safe_name(uid) == uid


def test_the_template_is_filled_with_safe_names() -> None:
    values = dict.fromkeys(FIELDS, "../../etc/passwd") | {"SOPInstanceUID": "1.2"}
    path = fill(TEMPLATE, values)
    assert ".." not in path.split("/")
    assert path.endswith("/1.2.dcm")
    assert len(path.split("/")) == 4


@pytest.mark.parametrize(
    "template",
    [
        "{PatientID}.dcm", "{SOPInstanceUID}/x.dcm", "../{SOPInstanceUID}", "/{SOPInstanceUID}",
        "a//{SOPInstanceUID}", "./{SOPInstanceUID}", "a\\{SOPInstanceUID}", "{PatientName}/{SOPInstanceUID}",
        "{SOPInstanceUID.__class__}", "{SOPInstanceUID!r}", "{SOPInstanceUID:9}", "{}{SOPInstanceUID}",
        "{SOPInstanceUID", "",
    ],
)  # fmt: skip
def test_templates_that_could_lose_or_misplace_a_file(template: str) -> None:
    with pytest.raises(UsageError, match="template"):
        check_template(template)
