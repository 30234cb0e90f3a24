"""A data set is what the archive holds: names, voxels, times, gradients, and reasons for the rest."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest

import warehouse
from tests.asking import answer_of, cohort_of
from tests.bids.conftest import COLUMNS, ROWS, SLICES, DataSet
from tests.programs import missing
from warehouse.store.duck import literal

SESSION = "sub-A1/ses-202001021000"
STEM = "sub-A1_ses-202001021000"


def problems(folder: Path) -> list[str]:
    """Return what the official validator calls an error; its schema comes with it, offline."""
    pytest.importorskip("bids_validator_deno", reason="bids-validator-deno is not installed")
    # Deno opens nothing below /dev, where files of tests may be (tests/conftest.py).
    with tempfile.TemporaryDirectory(dir="/var/tmp") as on_disk:
        shutil.copytree(folder, Path(on_disk) / "d")
        command = [
            sys.executable,
            "-c",
            "from bids_validator_deno import cli; cli()",
            str(Path(on_disk) / "d"),
            "--format",
            "json",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if not done.stdout.strip().startswith("{"):
        missing(f"the validator does not run here: {done.stderr[-200:]}")
    issues = json.loads(done.stdout)["issues"]["issues"]
    return [f"{one['code']} {one.get('location')}" for one in issues if one["severity"] == "error"]


def test_the_official_validator_finds_no_error(exported: DataSet) -> None:
    assert problems(exported.folder) == []


def test_the_official_validator_finds_what_is_wrong(exported: DataSet, tmp_path: Path) -> None:
    for path in exported.folder.rglob("*"):
        if path.is_file():
            copy = tmp_path / "d" / path.relative_to(exported.folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(path.read_bytes())
    bold = tmp_path / "d" / SESSION / "func" / f"{STEM}_task-rest_dir-FWD_bold.json"
    bold.write_text(json.dumps(json.loads(bold.read_text()) | {"RepetitionTime": 2.0}))
    assert problems(tmp_path / "d")


def test_every_series_has_a_place_or_a_reason(exported: DataSet) -> None:
    rows = exported.table("series.tsv")
    assert {row["series_key"] for row in rows} == set(exported.uids.values())
    assert all((row["files"] == "n/a") != (row["why_not"] == "n/a") for row in rows)
    why = exported.why_not()
    assert why[exported.uids["ct"]] == "BIDS has no place for CT"
    assert "uneven spacing" in why[exported.uids["gap"]]
    assert "tilt" in why[exported.uids["tilted"]]
    written = {name for row in rows if row["files"] != "n/a" for name in row["files"].split(" ")}
    there = {str(path.relative_to(exported.folder)) for path in exported.folder.rglob("*.nii.gz")}
    assert written == there
    assert exported.facts["bids"] == {"series_written": 10, "series_not_written": 3, "images": 12}


def test_names_follow_the_rules_of_bids(exported: DataSet) -> None:
    assert sorted(path.name for path in exported.folder.rglob("*.nii.gz")) == sorted(
        f"{STEM}_{name}.nii.gz"
        for name in (
            "rec-norm_T1w", "run-1_T1w", "run-2_T1w", "acq-rest_dir-FWD_epi", "acq-rest_dir-REV_epi",
            "task-rest_dir-FWD_bold", "magnitude1", "magnitude2", "phasediff", "dir-FWD_dwi",
            "task-NbackBold_dir-FWD_echo-1_bold", "task-NbackBold_dir-FWD_echo-2_bold",
        )
    )  # fmt: skip


def test_voxels_affine_and_time_step_are_those_of_the_series(exported: DataSet) -> None:
    image = nibabel.load(
        exported.folder / SESSION / "func" / f"{STEM}_task-rest_dir-FWD_bold.nii.gz"
    )
    volume = exported.wh.volume(exported.uids["bold"])
    assert image.shape == (COLUMNS, ROWS, SLICES, 4)
    assert (np.asarray(image.dataobj) == np.asarray(volume).transpose(3, 2, 1, 0)).all()
    assert image.header.get_zooms() == pytest.approx((1.5, 2.0, 2.5, 1.5))
    assert image.header.get_xyzt_units() == ("mm", "sec")
    # ImagePositionPatient is 0, 0, 0; x and y of LPS are the other way round in RAS.
    assert image.affine == pytest.approx(np.diag([-1.5, -2.0, 2.5, 1.0]))


def test_a_sidecar_states_values_in_the_units_of_bids(exported: DataSet) -> None:
    told = exported.sidecar(f"{SESSION}/func/{STEM}_task-rest_dir-FWD_bold")
    assert told | {
        "RepetitionTime": 1.5, "EchoTime": 0.03, "FlipAngle": 70, "MagneticFieldStrength": 3,
        "TaskName": "rest", "PhaseEncodingDirection": "j", "SeriesInstanceUID": exported.uids["bold"],
        "SliceTiming": [0, 0.25, 0.5, 0.75], "SliceEncodingDirection": "k", "Manufacturer": "Siemens",
        # 25 Hz per pixel, six rows: 1 / (25 · 6) s, five times that from the first to the last.
        "EffectiveEchoSpacing": 0.00666666667, "TotalReadoutTime": 0.0333333333,
    } == told  # fmt: skip
    t1 = exported.sidecar(f"{SESSION}/anat/{STEM}_rec-norm_T1w")
    assert (t1["InversionTime"], t1["RepetitionTime"], t1["EchoTime"]) == (0.9, 2.3, 0.003)
    assert "TaskName" not in t1


def test_echoes_are_files_of_their_own(exported: DataSet) -> None:
    whole = np.asarray(exported.wh.volume(exported.uids["bold echoes"]))
    for number, echo_s in ((1, 0.012), (2, 0.03)):
        name = f"{SESSION}/func/{STEM}_task-NbackBold_dir-FWD_echo-{number}_bold"
        assert exported.sidecar(name)["EchoTime"] == echo_s
        image = nibabel.load(exported.folder / f"{name}.nii.gz")
        labels = exported.wh.volume(exported.uids["bold echoes"]).labels["echo_time_ms"]
        kept = [n for n, ms in enumerate(labels) if ms == echo_s * 1000]
        assert len(kept) == 3
        assert (np.asarray(image.dataobj) == whole[kept].transpose(3, 2, 1, 0)).all()


def test_gradients_are_written_as_fsl_has_them(exported: DataSet) -> None:
    stem = exported.folder / SESSION / "dwi" / f"{STEM}_dir-FWD_dwi"
    assert stem.with_suffix(".bval").read_text() == "0 1000 1000\n"
    # Columns, rows and slices go along x, y and z of LPS; the determinant of the affine is
    # positive in RAS, so that FSL counts the first axis the other way round.
    assert stem.with_suffix(".bvec").read_text() == "0 -1 0\n0 0 0.6\n0 0 0.8\n"


def test_field_maps_say_what_they_are_for(exported: DataSet) -> None:
    bold = f"{SESSION}/func/{STEM}_task-rest_dir-FWD_bold"
    forth, back = (
        exported.sidecar(f"{SESSION}/fmap/{STEM}_acq-rest_dir-{way}_epi") for way in ("FWD", "REV")
    )
    assert forth["B0FieldIdentifier"] == back["B0FieldIdentifier"]
    assert forth["IntendedFor"] == back["IntendedFor"] == [f"bids::{bold}.nii.gz"]
    assert (forth["PhaseEncodingDirection"], back["PhaseEncodingDirection"]) == ("j", "j-")
    difference = exported.sidecar(f"{SESSION}/fmap/{STEM}_phasediff")
    assert (difference["EchoTime1"], difference["EchoTime2"]) == (0.00492, 0.00738)
    # The map came after the resting state, and nothing else is before the first map of its kind.
    sources = exported.sidecar(bold)["B0FieldSource"]
    assert forth["B0FieldIdentifier"] in sources
    dwi = f"{SESSION}/dwi/{STEM}_dir-FWD_dwi"
    assert exported.sidecar(dwi)["B0FieldSource"] == difference["B0FieldIdentifier"]
    assert f"bids::{dwi}.nii.gz" in difference["IntendedFor"]


def test_tables_name_participants_sessions_and_scans(exported: DataSet) -> None:
    # BIDS: ages over 89 are not told apart.
    assert exported.table("participants.tsv") == [
        {"participant_id": "sub-A1", "age": "89", "sex": "F"}
    ]
    sessions = exported.table("sub-A1/sub-A1_sessions.tsv")
    assert sessions == [{"session_id": "ses-202001021000", "acq_time": "2020-01-02T10:00:00"}]
    scans = {r["filename"]: r["acq_time"] for r in exported.table(f"{SESSION}/{STEM}_scans.tsv")}
    assert scans[f"func/{STEM}_task-rest_dir-FWD_bold.nii.gz"] == "2020-01-02T10:06:00"
    assert len(scans) == 12
    description = json.loads((exported.folder / "dataset_description.json").read_text())
    assert description["GeneratedBy"][0]["Name"] == "dicom-warehouse"


@pytest.fixture(scope="module")
def unnamed(exported: DataSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some series, exported without identifiers."""
    folder = tmp_path_factory.mktemp("unnamed") / "d"
    wh = exported.wh
    some = "select instance_key from instances where InstanceNumber < 3 or series_key = '1.2.9.6'"
    cohort_of(wh, "some", some)
    facts = wh.export("some", folder, "bids", identifiers=False)
    assert facts["bids"]["images"] == 1
    return folder


def test_without_identifiers_only_names_say_who_and_when(exported: DataSet, unnamed: Path) -> None:
    texts = [
        path.read_text()
        for path in unnamed.rglob("*")
        if path.suffix in {".json", ".tsv"} and path.name != "cohort.json"
    ]
    for secret in ("1.2.9", "Elsewhere", "2020-01-02T", "10:06:00", '"77"', "\t89\t"):
        assert not [text for text in texts if secret in text], secret
    # A part of a series is no image.
    rows = DataSet(exported.wh, {}, unnamed, {}).table("series.tsv")
    assert "only 2 of 4 instances are members" in {row["why_not"] for row in rows}


@pytest.mark.long("test_the_official_validator_finds_no_error")
def test_the_official_validator_finds_no_error_without_identifiers(unnamed: Path) -> None:
    assert problems(unnamed) == []


EVERY = "select series_key from bids_paths"
ONE_OF_EACH = (
    "select arg_min(series_key, (instance_count, series_key)) from bids_paths "
    "join series using (series_key) group by suffix, instance_count = 1, why_not"
)
"""The shortest series of each suffix, of several files and of one, and of each reason for none."""


@pytest.mark.long("test_the_official_validator_finds_no_error")
@pytest.mark.parametrize(
    ("which", "least"),
    [(ONE_OF_EACH, 5), pytest.param(EVERY, 16, marks=pytest.mark.slow)],
    ids=["one of each", "every"],
)
def test_the_corpus_is_a_valid_data_set(
    corpus: warehouse.Warehouse, tmp_path: Path, which: str, least: int
) -> None:
    chosen = ", ".join(literal(key) for (key,) in answer_of(corpus, which))
    mr = f"select series_key from instances where Modality = 'MR' and series_key in ({chosen})"
    run = cohort_of(corpus, "mr", mr)
    facts = corpus.export(run, tmp_path / "d", "bids")
    assert facts["bids"]["series_written"] >= least
    assert problems(tmp_path / "d") == []
