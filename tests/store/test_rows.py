import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pydicom.data

from warehouse.dicom.scan import SourceFile
from warehouse.elements.extract import extract
from warehouse.elements.schema import ELEMENTS
from warehouse.store.rows import ROW_GROUP_ROWS, write_rows


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
    assert plain(pq.read_table(path)) == plain(many)
    write_rows(ELEMENTS.empty_table(), path)
    assert pq.read_table(path).num_rows == 0
