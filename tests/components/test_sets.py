"""Sets of values: archives and display sets, as folders and as the JSON of Grand Challenge's API."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import tifffile

import warehouse
from tests.components.test_sockets import mha
from tests.components.test_validation import DOCUMENTED
from warehouse.components import set_files
from warehouse.errors import (
    ComponentError,
    SourceNotFound,
    TargetExists,
    UnknownValue,
    ValueRefused,
)


@pytest.fixture(scope="module")
def archive(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive with the sockets of these tests. Not to be changed: take ``wh``."""
    root = shutil.copytree(archive, tmp_path_factory.mktemp("sockets") / "w")
    made = warehouse.open(root).components
    made.create_socket(title="Z number", kind="FLT", relative_path="n.json")
    made.create_socket(title="A chart", kind="CHART", relative_path="chart.json")
    made.create_socket(title="Report", kind="PDF", relative_path="r.pdf")
    made.create_socket(title="Thumb", kind="PNG", relative_path="t.png")
    made.create_socket(title="Picture", kind="IMG", relative_path="images/p")
    made.create_socket(title="Boxes", kind="M2DB", relative_path="deep/boxes.json")
    return root


@pytest.fixture
def parts(wh: warehouse.Warehouse) -> Any:
    return wh.components


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two items, as a platform would lay them out."""
    item = tmp_path / "set" / "case 1"
    for name in ("images/p", "deep"):
        (item / name).mkdir(parents=True)
    (item / "n.json").write_text("0.5")
    (item / "chart.json").write_text(json.dumps(DOCUMENTED["CHART"]))
    (item / "r.pdf").write_bytes(b"%PDF-1.4")
    (item / "images/p/ct.mha").write_bytes(mha([1, 1], "MET_UCHAR", b"\1"))
    (item / "deep/boxes.json").write_text(json.dumps(DOCUMENTED["M2DB"]))
    (tmp_path / "set" / "case 2").mkdir()
    (tmp_path / "set" / "case 2" / "n.json").write_text("7")
    return tmp_path / "set"


@pytest.mark.acceptance("G34")
def test_an_item_has_one_value_of_each_socket(parts: Any, wh: warehouse.Warehouse) -> None:
    ids = [parts.add_value("z-number", n).value_id for n in range(3)]
    chart = parts.add_value("a-chart", DOCUMENTED["CHART"]).value_id
    assert parts.put("s", "one", {"z-number": ids[0], "a-chart": chart}) == 2
    assert parts.put("s", "one", {"z-number": ids[1]}, by="me") == 1
    assert parts.put("s", "one", {"z-number": ids[1]}) == 0, "it is there already"
    query = "select item, slug, value from value_sets where set_name = 's' order by item, slug"
    assert [row[:2] for row in wh.sql(query).fetchall()] == [
        ("one", "a-chart"),
        ("one", "z-number"),
    ]
    assert wh.sql(query).fetchall()[1][2] == "1"
    assert parts.put("s", "one", {"a-chart": None}) == 1
    assert parts.put("s", "one", {"z-number": ids[2]}, replace=True) == 1
    assert parts.put("s", "two", {"z-number": ids[0]}) == 1
    assert parts.put("s", "one", {}, replace=True) == 1
    assert [row[0] for row in wh.sql(query).fetchall()] == ["two"]
    with pytest.raises(ComponentError, match="have no a-chart"):
        parts.put("s", "two", {"a-chart": chart}, allowed=["z-number"])
    with pytest.raises(UnknownValue):
        parts.put("s", "two", {"a-chart": ids[0]})
    with pytest.raises(UnknownValue):
        parts.put("s", "two", {"z-number": "0" * 32})
    for name in ("", " ", "a\nb", "x" * 256):
        with pytest.raises(ComponentError, match="names"):
            parts.put("s", name, {"z-number": ids[0]})


@pytest.mark.acceptance("G34")
@pytest.mark.acceptance("G36")
def test_a_folder_is_brought_in_and_written_again(
    parts: Any, wh: warehouse.Warehouse, folder: Path, tmp_path: Path
) -> None:
    done = parts.import_set("readers", folder, by="me")
    assert [(one.item, one.path, one.why_not) for one in done if one.why_not] == []
    assert len(done) == 6
    assert wh.sql("select count(*) from value_sets").fetchall() == [(6,)]
    assert parts.export_set("readers", tmp_path / "out") == 6
    for name in ("n.json", "r.pdf", "deep/boxes.json"):
        assert (tmp_path / "out/case 1" / name).read_bytes() == (
            folder / "case 1" / name
        ).read_bytes()
    (image,) = (tmp_path / "out/case 1/images/p").iterdir()
    assert image.read_bytes() == (folder / "case 1/images/p/ct.mha").read_bytes()
    listing = json.loads((tmp_path / "out/archive_items.json").read_text())
    assert [item["title"] for item in listing] == ["case 1", "case 2"]
    order = [value["socket"]["slug"] for value in listing[0]["values"]]
    assert order == ["boxes", "z-number", "a-chart", "report", "picture"]
    listed = wh.sql(
        "select slug from value_sets where item = 'case 1' order by listing_rank, slug"
    ).fetchall()
    assert [row[0] for row in listed] == order
    assert listing[0]["values"][0]["interface"] == listing[0]["values"][0]["socket"]
    assert set(listing[0]["values"][0]) == {"socket", "interface", "value", "file", "image", "pk"}
    with pytest.raises(TargetExists):
        parts.export_set("readers", tmp_path / "out")
    again = parts.import_set("copy", tmp_path / "out")
    assert [one.value_id for one in again] == [one.value_id for one in done]
    with pytest.raises(ComponentError, match="there is no set"):
        parts.export_set("none", tmp_path / "none")


def test_what_is_wrong_in_a_folder_is_named(
    parts: Any, wh: warehouse.Warehouse, folder: Path
) -> None:
    (folder / "case 1" / "n.json").write_text('"secret"')
    (folder / "case 1" / "link.json").symlink_to("/etc/passwd")
    (folder / "case 1" / "other.txt").write_text("x")
    (folder / "case 1" / "images/p/two.mha").write_bytes(b"")
    (folder / "stray").write_text("x")
    with pytest.raises(ValueRefused, match="values of the set cannot be imported") as caught:
        parts.import_set("s", folder)
    assert "secret" not in str(caught.value)
    assert wh.sql("select count(*) from socket_values").fetchall() == [(0,)]
    done = parts.import_set("s", folder, keep_going=True)
    assert {one.path: one.why_not is None for one in done if one.item == "case 1"} == {
        "n.json": False, "link.json": False, "other.txt": False, "images/p/two.mha": False,
        "images/p/ct.mha": False, "chart.json": True, "r.pdf": True, "deep/boxes.json": True,
    }  # fmt: skip
    with pytest.raises(SourceNotFound):
        parts.import_set("s", folder / "missing")


def test_archive_items_of_the_api(parts: Any, wh: warehouse.Warehouse, tmp_path: Path) -> None:
    described = {
        "title": "Nodule count", "description": "d", "slug": "nodules-total", "kind": "Integer", "pk": 7,
        "default_value": 0, "super_kind": "Value", "relative_path": "count.json",
        "overlay_segments": [], "look_up_table": None,
    }  # fmt: skip
    number = wh.sockets["z-number"].serialized()
    items = [
        {"pk": "1", "title": "a", "values": [
            {"interface": described, "value": 3, "file": None, "image": None, "pk": 1},
            {"socket": number, "value": 0.5, "file": None, "image": None, "pk": 2},
            {"socket": wh.sockets["picture"].serialized(), "image": "https://x/1/", "pk": 3},
        ]},
        {"pk": "2", "title": "", "values": [{"socket": {}, "value": 1}]},
    ]  # fmt: skip
    (tmp_path / "items.json").write_text(json.dumps({"results": items}))
    done = parts.import_set("archive", tmp_path / "items.json", keep_going=True)
    assert [(one.item, one.path, one.why_not is None) for one in done] == [
        ("a", "nodules-total", True), ("a", "z-number", True), ("a", "picture", False),
        ("2", "?", False),
    ]  # fmt: skip
    made = wh.sockets["nodules-total"]
    assert (made.kind, made.default_value, made.super_kind) == ("INT", 0, "V")
    for wrong in ("{}", '"a"', "[1]", "[NaN]"):
        (tmp_path / "items.json").write_text(wrong)
        with pytest.raises(ValueRefused):
            parts.import_set("archive", tmp_path / "items.json")


def test_a_listing_that_says_two_things_is_told(
    parts: Any, wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    # A title is that of one item of an archive on Grand Challenge: the last value won silently.
    number, thumb = {"slug": "z-number"}, {"slug": "thumb"}
    listing = tmp_path / "items.json"
    cases: list[tuple[list[Any], list[tuple[str, str]], str]] = [
        ([{"title": "x", "values": [{"socket": number, "value": 1}]},
          {"title": "x", "values": [{"socket": number, "value": 2}]}],
         [("x", "1")], "another item of the listing has the same title"),
        ([{"pk": 1, "values": [{"socket": number, "value": 1}, {"socket": number, "value": 2}]}],
         [("1", "1")], "the item has another value of the same socket"),
        ([{"pk": 1, "values": 5}], [], "its values are not a list"),
        ([{"pk": 1, "values": ["z-number"]}], [], "the value names no socket"),
        ([{"pk": 1, "values": [{"socket": thumb, "value": 1}]}], [], "neither a value nor a file"),
    ]  # fmt: skip
    for at, (items, stored, why) in enumerate(cases):
        listing.write_text(json.dumps(items))
        with pytest.raises(ValueRefused, match=why):
            parts.import_set(f"s{at}", listing)
        parts.import_set(f"s{at}", listing, keep_going=True)
        query = "select item, value from value_sets where set_name = $1"
        assert wh.sql(query, [f"s{at}"]).fetchall() == stored


def test_an_image_is_written_with_the_suffix_of_its_format(
    parts: Any, wh: warehouse.Warehouse, tmp_path: Path
) -> None:
    # ITK and nibabel choose the reader by the name of the file.
    array = np.arange(24, dtype="u1").reshape(2, 3, 4)
    for name in ("a.nii", "b.nii.gz"):
        nibabel.Nifti1Image(array, np.eye(4)).to_filename(tmp_path / name)
    tifffile.imwrite(tmp_path / "c.tif", array)
    (tmp_path / "d.mha").write_bytes(mha([1, 1], "MET_UCHAR", b"\1"))
    wanted = {".nii": "a.nii", ".nii.gz": "b.nii.gz", ".tif": "c.tif", ".mha": "d.mha"}
    for suffix, name in wanted.items():
        (tmp_path / name).rename(tmp_path / "image.mha")
        value = parts.add_value("picture", file=tmp_path / "image.mha").value_id
        parts.put("s", suffix, {"picture": value})
    parts.export_set("s", tmp_path / "out")
    for suffix in wanted:
        (file,) = (tmp_path / "out" / suffix / "images" / "p").iterdir()
        assert "".join(file.suffixes) == suffix


def test_answers_of_a_reader_study(parts: Any, wh: warehouse.Warehouse, tmp_path: Path) -> None:
    """Field names as in gcapi 0.16.1, models.Answer."""
    base = "https://grand-challenge.org/api/v1/reader-studies"
    answers = [
        {"pk": f"a{n}", "answer": DOCUMENTED["M2DB"] if n < 2 else 3, "creator": f"reader{n}",
         "display_set": f"{base}/display-sets/d1/", "question": f"{base}/questions/q{n // 2}/",
         "answer_image": None, "is_ground_truth": False, "score": None}
        for n in range(3)
    ]  # fmt: skip
    (tmp_path / "answers.json").write_text(json.dumps(answers))
    done = set_files.import_answers(
        wh.root, tmp_path / "answers.json", {"q0": "boxes"}, series={"d1": "1.2.10"},
        keep_going=True,
    )  # fmt: skip
    assert [one.why_not is None for one in done] == [True, True, False]
    wh.refresh()
    rows = wh.sql(
        "select added_by, series_key, tool from values_about order by added_by"
    ).fetchall()
    assert rows == [(f"reader{n}", "1.2.10", "grand-challenge") for n in range(2)]
    with pytest.raises(ValueRefused, match="1 of 3 answers"):
        set_files.import_answers(wh.root, tmp_path / "answers.json", {"q0": "boxes"})
