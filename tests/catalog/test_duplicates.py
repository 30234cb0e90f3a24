"""A file with a used SOPInstanceUID is told from a true copy: a re-sent study is an everyday accident."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

import warehouse
from tests.asking import answer_of
from tests.command_line import run
from tests.dicom_files import dataset, write
from warehouse.catalog.duplicates import Compared

if TYPE_CHECKING:
    from pathlib import Path

USUAL: dict[str, Any] = {
    "DiffusionBValue": float("nan"), "ICCProfile": bytes(300), "StationName": "A",
    "RequestAttributesSequence": [dataset(ScheduledProcedureStepID="1")],
}  # fmt: skip


# What differs in the copy, its encoding, what is said of it, and where it differs.
PAIRS: list[tuple[dict[str, Any], str, str, list[str]]] = [
    ({}, "explicit", "same", []),
    ({"PixelData": b"\1\2\3\5"}, "explicit", "same header", ["PixelData"]),
    ({"PixelData": b"\1\2\3\5\6\7"}, "explicit", "same header", ["PixelData"]),
    ({"StationName": "B"}, "explicit", "same pixels", ["StationName"]),
    ({"ICCProfile": bytes(299) + b"x"}, "explicit", "same pixels", ["ICCProfile"]),
    (
        {"RequestAttributesSequence": [dataset(ScheduledProcedureStepID="2")]},
        "explicit", "same pixels", ["RequestAttributesSequence[0].ScheduledProcedureStepID"],
    ),
    (
        {"StationName": None, "PatientComments": "x", "PixelData": b"4321"},
        "explicit", "differs", ["PatientComments", "StationName", "PixelData"],
    ),
    ({"PixelData": None}, "explicit", "same header", ["PixelData"]),
    # Sent on in another encoding: the header is the same, pixels are not compared.
    ({}, "implicit", "same header", []),
]  # fmt: skip


@pytest.fixture(scope="module")
def compared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Compared]:
    """Return what is said of each pair, by the path of its second file."""
    folder = tmp_path_factory.mktemp("pairs") / "in"
    for number, (changed, syntax, _, _) in enumerate(PAIRS):
        uid = {"SOPInstanceUID": f"1.7.{number}"}
        write(folder / f"{number}" / "a", **USUAL | uid)
        write(folder / f"{number}" / "b", syntax=syntax, **USUAL | uid | changed)
    wh = warehouse.open(folder.parent / "w", create=True)
    assert wh.ingest(folder, workers=1).duplicate == len(PAIRS)
    return {"/".join(found.path.split("/")[-3:]): found for found in wh.duplicates()}


@pytest.mark.parametrize("number", range(len(PAIRS)))
def test_a_duplicate_is_a_copy_or_says_where_it_differs(
    compared: dict[str, Compared], number: int
) -> None:
    _, syntax, verdict, places = PAIRS[number]
    found = compared[f"in/{number}/b"]
    assert (found.verdict, list(found.differs_in)) == (verdict, places)
    assert found.held_by.endswith(f"/in/{number}/a")
    assert (found.why_not is None) == (syntax == "explicit")


def test_copies_in_archives_and_files_that_are_gone(tmp_path: Path) -> None:
    write(tmp_path / "in" / "m" / "a", **USUAL)
    shutil.make_archive(str(tmp_path / "in" / "z"), "zip", tmp_path / "in" / "m")
    shutil.copy(tmp_path / "in" / "m" / "a", tmp_path / "in" / "n")
    wh = warehouse.open(tmp_path / "w", create=True)
    assert wh.ingest(tmp_path / "in", workers=1).duplicate == 2
    (tmp_path / "in" / "n").unlink()
    assert [(one.verdict, one.why_not) for one in wh.duplicates()] == [
        ("unknown", "a file is no longer there"), ("same", None),
    ]  # fmt: skip
    assert answer_of(wh, "select is_same_size, is_same_pixel_length from duplicates") == [
        (True, True), (True, True),
    ]  # fmt: skip


def test_the_command_lists_what_is_no_copy(tmp_path: Path) -> None:
    for n, name in enumerate("AAB"):
        write(tmp_path / "in" / str(n), StationName=name)
    warehouse.open(tmp_path / "w", create=True).ingest(tmp_path / "in", workers=1)
    done = run("duplicates", "-w", tmp_path / "w")
    assert done.stdout.splitlines() == [
        f"same pixels: {tmp_path}/in/2", f"  held by {tmp_path}/in/0", "  StationName",
        "2 duplicates, 1 of them true copies",
    ]  # fmt: skip
    listed = json.loads(run("duplicates", "--json", "--all", "-w", tmp_path / "w").stdout)
    assert [one["verdict"] for one in listed] == ["same", "same pixels"]


def test_the_command_prints_the_first_of_many_differences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = tuple(f"Name{n}" for n in range(1000))
    one = Compared("b", "a", "1.1", "differs", names)
    monkeypatch.setattr(warehouse.Warehouse, "duplicates", lambda *_, **__: [one])
    printed = run("duplicates", "-w", tmp_path / "w").stdout
    assert "Name19, 980 more, which --json lists\n1 duplicate, 0 of them" in printed
    (listed,) = json.loads(run("duplicates", "--json", "-w", tmp_path / "w").stdout)
    assert listed["differs_in"] == list(names)
