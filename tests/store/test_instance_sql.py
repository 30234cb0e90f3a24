"""The attributes of `instances` stand in one table: the views say what it says."""

from __future__ import annotations

import pytest
from pydicom.datadict import keyword_for_tag

from warehouse.store import instance_sql
from warehouse.store.instance_sql import attributes, files, written


@pytest.mark.parametrize("name", sorted(files()))
def test_the_views_are_what_the_table_writes(name: str) -> None:
    text = files()[name].read_text("utf-8")
    assert written(name, text) == text, "run `make sql`"


def test_columns_have_the_keywords_of_their_tags() -> None:
    for one in attributes():
        if one.is_keyword:
            assert keyword_for_tag(one.tag) == one.name


def test_an_attribute_is_added_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the first and the last: documented, found by its tag, and a column of every answer."""
    new = instance_sql.Attribute("AcquisitionDuration", "00189073", "", "real", False, "ms")
    some = (*attributes()[:5], new, *attributes()[5:])
    monkeypatch.setattr(instance_sql, "attributes", lambda: some)
    said = {name: written(name, path.read_text("utf-8")) for name, path in files().items()}
    for text in said.values():
        assert (
            "-- column:  AcquisitionDuration | DOUBLE | Acquisition Duration (0018,9073), ms\n"
            in text
        )
        assert "\n    AcquisitionDuration,\n" in text
    inside = said["instance_attributes"]
    assert (
        "        max(case when tag = '00189073' then \"real\" end) as AcquisitionDuration,\n"
        in inside
    )
    assert inside.index("'00189005'") < inside.index("'00189073'") < inside.index("'00189087'")
