"""Files as rows are the files that they were made of, wherever they are read."""

from __future__ import annotations

import pickle

from warehouse.dicom.scan import SourceFile, Unreadable
from warehouse.listing import FileRows
from warehouse.settings import S3Access

S3 = S3Access()
ITEMS = [
    SourceFile("/a", 1, 2),
    Unreadable("/b", "not a regular file"),
    SourceFile("/c.zip!/d", 3, 4, "/c.zip", "d"),
    SourceFile("s3://bucket/e", 0, 0, access=S3),
]


def test_rows_become_the_same_files_again_in_another_process_too() -> None:
    rows = FileRows.of(ITEMS, S3)
    for some in (rows, pickle.loads(pickle.dumps(rows))):
        assert list(some) == ITEMS
        assert [some[place] for place in range(-len(ITEMS), len(ITEMS))] == ITEMS + ITEMS
        assert list(some[1:3]) == ITEMS[1:3]
        assert list(pickle.loads(pickle.dumps(some[1:3]))) == ITEMS[1:3]
        assert len(some[2:1]) == 0


def test_a_slice_crosses_without_the_rest() -> None:
    many = FileRows.of([SourceFile(f"/{number:09}", 1, 2) for number in range(5000)], S3)
    assert len(pickle.dumps(many[:10])) < len(pickle.dumps(many)) / 4


def test_what_cannot_be_read_is_told_apart() -> None:
    readable, others = FileRows.of(ITEMS, S3).told_apart()
    assert list(readable) == [ITEMS[0], ITEMS[2], ITEMS[3]]
    assert others == [ITEMS[1]]
    readable, others = FileRows.of(ITEMS[2:], S3).told_apart()
    assert (list(readable), others) == (ITEMS[2:], [])
