import json
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom.data
import pytest

from tests.dicom_files import write
from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import extract
from warehouse.elements.schema import ELEMENTS
from warehouse.store.rows import ROW_GROUP_ROWS, write_rows


def same(read, written):
    """Compare columns, those of a dictionary by what it says; ``plain`` makes a list of each."""
    assert read.column_names == written.column_names
    return all(
        ours.cast(theirs.type).equals(theirs)
        for ours, theirs in zip(written.columns, read.columns, strict=True)
    )


def some_rows():
    paths = sorted((Path(pydicom.data.__file__).parent / "test_files").glob("*.dcm"))
    sources = [SourceFile(str(path), os.path.getsize(path), 0) for path in paths]
    return pa.concat_tables([portion.rows for portion in extract(sources, 0, 10**7)])


def plain(table):
    return [column.to_pylist() for column in table.columns]


def test_what_is_written_is_read_by_everybody(tmp_path):
    rows, path = some_rows(), str(tmp_path / "rows.parquet")
    write_rows(rows, path)
    read = pq.read_table(path)
    assert read.schema.field("tag").type == pa.string()
    assert read.schema.field("time_us").type == pa.int64()
    assert plain(read) == plain(rows)
    (found,) = duckdb.sql(
        f"select count(*), count(distinct tag), sum(length) from '{path}'"
    ).fetchall()
    tags, lengths = plain(rows.select(["tag", "length"]))
    assert found == (len(tags), len(set(tags)), sum(length for length in lengths if length))


def test_row_groups_and_empty_tables(tmp_path):
    rows, path = some_rows(), str(tmp_path / "rows.parquet")
    many = pa.concat_tables([rows] * (1 + ROW_GROUP_ROWS // len(rows))).unify_dictionaries()
    write_rows(many, path)
    metadata = pq.ParquetFile(path).metadata
    assert [metadata.row_group(i).num_rows for i in range(2)] == [
        ROW_GROUP_ROWS,
        len(many) - ROW_GROUP_ROWS,
    ]
    assert same(pq.read_table(path), many)
    write_rows(ELEMENTS.empty_table(), path)
    assert pq.read_table(path).num_rows == 0


@pytest.mark.acceptance("D76")
def test_a_question_for_a_tag_reads_the_row_groups_of_that_tag(tmp_path):
    values = pydicom.Dataset()
    values.SOPClassUID, values.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3"
    values.PixelRepresentation = 0
    values.add_new(0x00283006, "US", list(range(30_000)))
    for number in range(10):
        values.SOPInstanceUID = f"1.2.3.{number}"
        write(tmp_path / f"{number}.dcm", values)
    sources = [SourceFile(str(path), 0, 0) for path in sorted(tmp_path.glob("*.dcm"))]
    path = str(tmp_path / "rows.parquet")
    write_rows(pa.concat_tables([portion.rows for portion in extract(sources, 0, 10**7)]), path)
    assert pq.read_metadata(path).num_row_groups >= 3
    question = f"from '{path}' where tag = '00080018'"
    with duckdb.connect() as connection:
        connection.execute("pragma enable_profiling = 'json'")
        connection.execute(f"pragma profiling_output = '{tmp_path / 'profile.json'}'")
        assert len(connection.execute(f"select text {question}").fetchall()) == 10
    [scan] = json.loads((tmp_path / "profile.json").read_text())["operator"][0]["children"]
    # The last row group of a tag may also begin the next one.
    assert scan["row_groups_scanned"] <= 2 < scan["total_row_groups_to_scan"]
    assert scan["rows_scanned"] <= ROW_GROUP_ROWS < pq.read_metadata(path).num_rows
