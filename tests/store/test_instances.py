"""Rows of `instances` made with Arrow are those of the view that defines them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.data import get_testdata_file

from tests.dicom_files import element, write
from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import Portion, extract
from warehouse.settings import Mode
from warehouse.store import instances, stage, tables
from warehouse.store.attributes import gather

NAMES = [
    "Doe^Jane", "", " ", "^", "A^B^C^D^E", "Doe^Jane=漢^字=か^な", "=漢", "A==B", "^^C", "'; --", '"',
    "a^b^c^d^e^f", "😀^é",
]  # fmt: skip


def read(paths: list[Path]) -> Portion:
    found = [SourceFile(str(path), path.stat().st_size, 0) for path in paths]
    (portion,) = extract(found, 5 << 24, 1 << 22)
    return portion


def with_arrow(portion: Portion) -> pa.Table | None:
    files = stage._files(portion.outcomes, Mode.FULL)
    ingested = files.filter(pc.equal(files["status"], "ingested"))
    return instances._with_arrow(ingested, gather(portion.rows))


def with_sql(portion: Portion) -> pa.Table:
    attributes, files = gather(portion.rows), stage._files(portion.outcomes, Mode.FULL)
    return instances._with_sql(files, attributes, stage._nameless(portion.rows, attributes))


def sample_files() -> list[Path]:
    folder = Path(str(get_testdata_file("CT_small.dcm"))).parent
    return [*sorted(folder.glob("*.dcm")), folder / "dicomdirtests" / "DICOMDIR"]


def both_ways(every: list[Path]) -> pa.Table:
    """Compare the rows of files and return them."""
    named = [path for path in every if with_arrow(read([path])) is not None]
    # All but those without any UID, or with an escaped character in a name.
    assert len(every) - len(named) < 8
    portion = read(named)
    quick = with_arrow(portion)
    assert quick is not None
    assert quick.schema == tables.named("instances").stored_schema
    assert quick.equals(with_sql(portion))
    return quick


def test_some_sample_files() -> None:
    assert both_ways(sample_files()[::-6]).num_rows > 8


@pytest.mark.long("test_some_sample_files")
def test_sample_files() -> None:
    quick = both_ways(sample_files())
    assert len([offset for offset in quick["pixel_offset"].to_pylist() if offset]) > 40
    assert quick["study_key"].null_count == 1


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str, tmp_path: Path) -> None:
    others = {"OperatorsName": [name, "C^D"], "ReferringPhysicianName": name}
    charset = {"SpecificCharacterSet": "ISO_IR 192"}
    paths = [
        write(tmp_path / "0", uid="1.0", PatientName=name, **charset, **others),
        write(tmp_path / "1", uid="1.1", PatientName="X^Y", OperatorsName="", **charset),
        write(tmp_path / "2", uid="1.2"),
    ]
    portion = read(paths)
    quick = with_arrow(portion)
    # What is escaped in JSON is left to SQL.
    assert (quick is None) == ('"' in name)
    assert quick is None or quick.equals(with_sql(portion))


TAGS = [
    (0x00020003, "UI"), (0x00080018, "UI"), (0x00100020, "LO"), (0x0020000D, "UI"), (0x0020000E, "UI")
]  # fmt: skip
IDS = st.sampled_from([None, "", "1.5", "1.6"])


@settings(max_examples=settings().max_examples // 5, deadline=None)
@given(st.lists(st.tuples(IDS, IDS, IDS, IDS, IDS), min_size=1, max_size=3))
def test_identifiers_that_are_missing_or_empty(
    tmp_path_factory: pytest.TempPathFactory, said: list[tuple[str | None, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("ids")
    for number, values in enumerate(said):
        syntax = element(0x00020010, "UI", b"1.2.840.10008.1.2.1\0")
        meta, *others = (
            b"" if value is None else element(tag, vr, value.encode() + b"\0" * (len(value) % 2))
            for (tag, vr), value in zip(TAGS, values, strict=True)
        )
        content = bytes(128) + b"DICM" + meta + syntax + b"".join(others)
        (folder / str(number)).write_bytes(content)
    portion = read(sorted(folder.iterdir()))
    quick, told = with_arrow(portion), with_sql(portion)
    is_nameless = any(not meta and not sop for meta, sop, *_ in said)
    assert (quick is None) == is_nameless
    assert quick is None or quick.equals(told)
    assert told.num_rows == len(said)


def test_a_name_that_is_no_name(tmp_path: Path) -> None:
    """A text where a name belongs is SQL's affair, and so is whatever SQL says to it."""
    portion = read([write(tmp_path / "0", uid="1.0", PatientName="Doe^Jane")])
    attributes = gather(portion.rows)
    place = attributes.schema.get_field_index("PatientName")
    odd: Any
    for odd in ("Doe^Jane", "[]", '{"alphabetic":"Doe"}', '{"alphabetic":{"family_name":1}}', "1"):
        changed = attributes.set_column(place, "PatientName", pa.array([odd]))
        files = stage._files(portion.outcomes, Mode.FULL)
        assert instances._with_arrow(files, changed) is None
