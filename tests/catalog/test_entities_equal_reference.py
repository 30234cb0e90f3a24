"""Entity views against loops and dictionaries, on generated collections and on real files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pydicom
import pytest

import warehouse
from tests import reference
from tests.asking import answer_of
from tests.conftest import PACKAGED, packaged_files
from tests.dicom_files import image, write
from tests.forms import few_alike
from warehouse.dicom.reference import read_header
from warehouse.dicom.scan import SourceFile
from warehouse.errors import Rejected

KEYS = {"series": "series_key", "studies": "study_key", "patients": "patient_key"}


def compare(wh: warehouse.Warehouse, files: list[Path]) -> None:
    expected = reference.entities(reference.read(files))
    for view, rows in expected.items():
        columns = sorted({column for row in rows.values() for column in row})
        listed = ", ".join(f'"{column}"' for column in [KEYS[view], *columns])
        found: dict[str, dict[str, Any]] = {
            row[0]: dict(zip(columns, row[1:], strict=True))
            for row in answer_of(wh, f"select {listed} from {view}")
        }
        assert len(found) == len(rows)
        for key, row in rows.items():
            if not key.startswith("missing:content"):
                assert found[key] == row, (view, key)


def readable(path: Path) -> bool:
    try:
        read_header(SourceFile(str(path), None, None))
    except Rejected:
        return False
    return True


def test_on_four_real_files(tmp_path: Path) -> None:
    names = {"CT_small.dcm", "MR_small.dcm", "rtplan.dcm", "JPEG2000.dcm"}
    files = [path for path in (PACKAGED["pydicom"] / "test_files").iterdir() if path.name in names]
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*files, workers=1)
    compare(wh, sorted(files))


@pytest.mark.long("test_on_four_real_files")
def test_on_real_files(tmp_path: Path) -> None:
    """The reference knows no functional groups: tests/sql/test_frame_values.py has one that does."""
    few = few_alike(packaged_files(), 3)
    files = [path for path in few if readable(path) and not has_groups(path)]
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(*files, mode="full", workers=1)
    compare(wh, files)


def has_groups(path: Path) -> bool:
    # Headers may be deflated.
    header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
    return any(f"{name}FunctionalGroupsSequence" in header for name in ("PerFrame", "Shared"))


def collection(folder: Path, seed: int, count: int = 20) -> list[Path]:
    """Files whose attributes are drawn from few values, so that they meet and disagree."""
    draw = random.Random(seed)

    def maybe(*values: Any) -> Any:
        return draw.choice([None, "", *values, *values])

    files = []
    for number in range(count):
        attributes = {
            "PatientID": maybe("P", "Q"),
            "PatientName": maybe("Doe^Jane", "Roe^John^Q^Dr^Jr", "Solo", "山田^太郎"),
            "PatientSex": maybe("F", "M", "O"),
            "PatientBirthDate": maybe("19900102", "19900230", "1990"),
            "StudyInstanceUID": maybe("2.1", "2.2"),
            "StudyDate": maybe("20240102", "20231231", "2024.01.03"),
            "StudyTime": maybe("1030", "235959.5", "25"),
            "StudyDescription": maybe("a", "b" * 100, " c"),
            "SeriesInstanceUID": maybe("3.1", "3.2", "3.3"),
            "SeriesNumber": maybe(-1, 7),
            "SeriesDate": maybe("20240102"),
            "SeriesTime": maybe("10", "103000.000001"),
            "Modality": maybe("MR", "CT"),
            "EchoTime": maybe("1.5", "20"),
            "EchoTrainLength": maybe(4),
            "ImageType": maybe(["ORIGINAL", "PRIMARY"], "DERIVED"),
            "ScanningSequence": maybe(["SE", "IR"], "GR"),
            "SliceThickness": maybe("1", "2.50"),
            "PixelData": draw.choice([None, b"\1\2\3\4"]),
            "SpecificCharacterSet": "ISO_IR 192",
        }
        uid = f"1.{draw.randrange(16)}"
        syntax = draw.choice(["implicit", "explicit", "explicit", "big", "deflated"])
        files.append(write(folder / f"{number:02d}", image(uid, **attributes), syntax))
    return files


@pytest.mark.parametrize(
    ("seed", "mode"), [(1, "minimal"), (2, "normal"), (3, "full"), (4, "minimal"), (5, "full")]
)
def test_on_generated_collections(tmp_path: Path, seed: int, mode: str) -> None:
    files = collection(tmp_path / "in", seed)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode=mode, workers=1)
    compare(wh, files)


def test_the_stored_instances_are_the_answer_of_their_definition(
    sample: warehouse.Warehouse,
) -> None:
    columns = [row[0] for row in answer_of(sample, "describe instances_from_elements")]
    listed = ", ".join(f'"{column}"' for column in columns)
    stored = answer_of(sample, f"select {listed} from instances order by instance_id")
    defined = answer_of(
        sample, f"select {listed} from instances_from_elements order by instance_id"
    )
    assert stored == defined
    assert stored
    assert {row[0] for row in answer_of(sample, "describe instances")} == {"batch", *columns}
