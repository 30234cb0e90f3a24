"""Files are what their bytes say: signatures, Newick, BIOM. Names mean nothing."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import biom
import h5py
import numpy as np
import PIL.Image
import pytest
from Bio.Phylo import NewickIO

import warehouse
from warehouse.components.files import require_file
from warehouse.components.kinds import find_kind, groups
from warehouse.components.newick import require_newick
from warehouse.errors import SourceNotFound, ValueRefused


def picture(form: str) -> bytes:
    out = io.BytesIO()
    PIL.Image.new("L", (3, 2)).save(out, form)
    return out.getvalue()


def archive() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as file:
        file.writestr("a", "b")
    return out.getvalue()


def database(path: Path) -> bytes:
    with sqlite3.connect(path) as connection:
        connection.execute("create table a (b)")
    connection.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def goods(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("files")
    table = biom.Table(np.array([[1.0, 0], [2, 3]]), ["o1", "o2"], ["s1", "s2"])
    with h5py.File(folder / "a.biom", "w") as file:
        table.to_hdf5(file, "test")
    return {
        "PDF": b"%PDF-1.7\n%\xe2\xe3\n1 0 obj\nendobj\n%%EOF\n",
        "SQREG": database(folder / "a.sqreg"),
        "JPEG": picture("JPEG"),
        "PNG": picture("PNG"),
        "OBJ": b"# cube\nv 0 0 0\nv 1 0 0\nf 1 2 1\n",
        "MP4": b"\0\0\0\x18ftypisom\0\0\0\0isomiso2",
        "NEWCK": b"((A:0.1,B:0.2)ab:1,C);",
        "BIOM": (folder / "a.biom").read_bytes(),
        "CSV": "a,b\n1,ü\n".encode(),
        "ZIP": archive(),
    }


@pytest.mark.acceptance("G23")
def test_every_kind_of_file_takes_its_own_and_refuses_the_others(
    goods: dict[str, bytes], tmp_path: Path
) -> None:
    assert set(goods) == groups()["file"]
    also_csv = {"OBJ", "NEWCK", "PDF"}  # text is text: a table may look like anything
    for name, content in goods.items():
        file = tmp_path / f"{name}.pdf"
        file.write_bytes(content)
        for code in goods:
            taken = code == name or (code == "CSV" and name in also_csv - {"PDF"})
            with nullcontext() if taken else pytest.raises(ValueRefused):
                require_file(file, find_kind(code))


@pytest.mark.parametrize("code", sorted(groups()["file"]))
def test_what_is_empty_or_cut_off_is_refused(code: str, tmp_path: Path) -> None:
    for content in (
        b"",
        b"\0",
        b"\x89PNG\r\n\x1a\n",
        b"PK\x03\x04",
        b"\xff\xfe",
        b"\x89HDF\r\n\x1a\n",
    ):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(ValueRefused):
            require_file(tmp_path / "a", find_kind(code))
    with pytest.raises(SourceNotFound):
        require_file(tmp_path / "missing", find_kind(code))
    with pytest.raises(ValueRefused, match="not a regular file"):
        require_file(tmp_path, find_kind(code))


@pytest.mark.parametrize("end", [b"\0", b"\xff", b"\xc3"])
def test_a_table_is_text_to_its_end(end: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n" * (1 << 18) + b"1,2\n")
    require_file(tmp_path / "a.csv", find_kind("CSV"))
    with (tmp_path / "a.csv").open("ab") as file:
        file.write(end)
    with pytest.raises(ValueRefused, match="text"):
        require_file(tmp_path / "a.csv", find_kind("CSV"))


NEWICK = [
    ("();", True), ("()", True), ("((A,B),C);", True), ("((A,B),C);\n((D,E),F);", True),
    ("((,),);", True), ("(中,(国,话));", True), ("", False), ("((A,B),C;", False),
    ("((A@B),C;", False),
]  # fmt: skip
"""The nine vectors of Grand Challenge's tests."""


@pytest.mark.acceptance("G24")
@pytest.mark.parametrize(("tree", "good"), NEWICK)
def test_newick_trees(tree: str, good: bool, wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """As a file that a person brings; outputs of jobs come through the same door."""
    with nullcontext() if good else pytest.raises(ValueRefused):
        require_newick(tree)
    if good:
        assert list(NewickIO.Parser.from_string(tree).parse())
    (tmp_path / "tree").write_text(tree)
    wh.components.create_socket(title="Tree", kind="NEWCK", relative_path="a.newick")
    with nullcontext() if good else pytest.raises(ValueRefused):
        wh.components.add_value("tree", file=tmp_path / "tree")


@pytest.mark.acceptance("G24")
@pytest.mark.parametrize(
    "text",
    ["not a tree", "<xml/>", '{"a":1}', "(A:x,B);", "(A,B));", "(A,'B);", "(A[c,B);", "A:1;"],
)
def test_text_that_biopython_would_read_is_no_tree(text: str) -> None:
    with pytest.raises(ValueRefused):
        require_newick(text)


@pytest.mark.acceptance("G24")
@pytest.mark.parametrize(
    "text", ["('it''s':1e-3,B)root:0.5;", "(A[&x=1],B);", "(A,B:-0.2,(C));", "\n(A,\nB)\n;\n"]
)
def test_quotes_comments_and_lengths(text: str) -> None:
    require_newick(text)
    assert list(NewickIO.Parser.from_string(text).parse())


def test_a_tree_of_any_depth_is_read() -> None:
    require_newick("(" * 50_000 + "A" + ")" * 50_000 + ";")


@pytest.mark.acceptance("G24")
def test_biom_tables(goods: dict[str, bytes], wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """Four vectors: valid, JSON, broken HDF5, HDF5 of something else."""
    wh.components.create_socket(title="Taxa", kind="BIOM", relative_path="a.biom")
    with h5py.File(tmp_path / "other", "w") as file:
        file["data"] = [1, 2]
    vectors: dict[str, tuple[bytes, Any]] = {
        "valid": (goods["BIOM"], nullcontext()),
        "json": (json.dumps({"id": None, "format": "BIOM"}).encode(), pytest.raises(ValueRefused, match="not an HDF5")),
        "broken": (goods["BIOM"][6:], pytest.raises(ValueRefused, match="not an HDF5")),
        "other": ((tmp_path / "other").read_bytes(), pytest.raises(ValueRefused, match="not a BIOM table")),
        "cut": (goods["BIOM"][: len(goods["BIOM"]) // 2], pytest.raises(ValueRefused, match="not a BIOM table")),
    }  # fmt: skip
    for name, (content, expected) in vectors.items():
        (tmp_path / name).write_bytes(content)
        with expected:
            wh.components.add_value("taxa", file=tmp_path / name)
    assert wh.sql("select count(*) from socket_values").fetchall() == [(1,)]


@pytest.mark.acceptance("G23")
def test_a_png_called_pdf_is_refused_and_nothing_stays(
    goods: dict[str, bytes], wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    wh.components.create_socket(title="Report", kind="PDF", relative_path="r.pdf")
    (tmp_path / "report.pdf").write_bytes(goods["PNG"])
    with pytest.raises(ValueRefused, match="not a PDF file"):
        wh.components.add_value("report", file=tmp_path / "report.pdf")
    assert [p for p in (wh.root / "values").rglob("*") if p.is_file()] == []
    shutil.move(tmp_path / "report.pdf", tmp_path / "report.png")
    wh.components.create_socket(title="Picture", kind="PNG", relative_path="p.png")
    added = wh.components.add_value("picture", file=tmp_path / "report.png")
    assert wh.components.value_file(added.value_id).read_bytes() == goods["PNG"]
