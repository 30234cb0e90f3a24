"""Where series lie in a BIDS data set: names as given, and never the same twice."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.small_tables import View

VALID = re.compile(
    r"sub-([A-Za-z0-9]+)/ses-([A-Za-z0-9]+)/(anat|func|fmap|dwi)/sub-\1_ses-\2"
    r"(_task-[A-Za-z0-9]+)?(_acq-[a-z]+)?(_ce-contrast)?(_rec-norm)?(_dir-[A-Z]+)?(_run-\d+)?(_echo-\d+)?(_inv-\d+)?"
    r"(_part-[a-z]+)?_[A-Za-z0-9]+"
)

FIRST = {
    "sequence_types": "rule",
    "series": "Modality",
    "studies": "StudyID",
    "phase_encoding": "instance_id",
    "sequence_facts": "contrast_agent",
    "instances": "Modality",
}
"""A column of each table: they are filled afterwards."""


def paths(*rows: dict[str, Any]) -> list[tuple[str | None, str | None]]:
    """Return path and reason of each series."""
    view = View()
    for name, column in FIRST.items():
        view.given(name, column)
    studies = set()
    for n, given_row in enumerate(rows):
        row = {
            "PatientID": "304848286", "StudyDate": "2018-01-24", "StudyTime": "10:44:31", "ImageType": ["ORIGINAL"],
            "study": "t", "series_at": None, "SeriesNumber": n, **given_row,
        }  # fmt: skip
        key, study = f"s{n}", f"{row['PatientID']}{row['study']}"
        ask = view.connection.execute
        ask(
            "insert into sequence_types (series_key, sequence_type, rule, instance_id) values (?, ?, null, ?)",
            [key, row["kind"], n],
        )
        ask(
            "insert into series (series_key, study_key, patient_key, PatientID, Modality, SeriesDescription, "
            "ProtocolName, ImageType, InversionTime, EchoTime, series_at, SeriesNumber) "
            "values (?, ?, ?, ?, 'MR', ?, ?, ?, ?, ?, ?, ?)",
            [key, study, row["PatientID"] or f"missing:{study}", row["PatientID"], row.get("SeriesDescription"),
             row.get("ProtocolName"), row["ImageType"], row.get("InversionTime"), row.get("EchoTime"), row["series_at"],
             row["SeriesNumber"]],
        )  # fmt: skip
        ask(
            "insert into sequence_facts (series_key, contrast_agent, image_part) values (?, ?, ?)",
            [key, row.get("agent"), row.get("part")],
        )
        if row.get("acquired"):
            ask(
                "insert into instances (series_key, Modality, AcquisitionDate, AcquisitionTime) values (?, 'MR', ?, ?)",
                [key, "2018-01-24", row["acquired"]],
            )
        ask(
            "insert into phase_encoding (instance_id, phase_encoding_direction) values (?, ?)",
            [n, row.get("phase")],
        )
        if study not in studies:
            ask(
                "insert into studies (study_key, StudyDate, StudyTime) values (?, ?, ?)",
                [study, row["StudyDate"], row["StudyTime"]],
            )
            studies.add(study)
    found = {key: pair for key, *pair in view.rows("bids_paths", ["series_key", "path", "why_not"])}
    return [tuple(found[f"s{n}"]) for n in range(len(rows))]


FOLDER = "sub-304848286/ses-201801241044/{0}/sub-304848286_ses-201801241044"
T1 = FOLDER.format("anat")


@pytest.mark.acceptance("D50")
@pytest.mark.parametrize(
    ("row", "expected"),
    [
        # rec is for the reconstruction, ce for a contrast agent: these were ce-corrected before.
        ({"kind": "T1w", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}, f"{T1}_rec-norm_T1w"),
        ({"kind": "T1w"}, f"{T1}_T1w"),
        ({"kind": "T1w", "agent": "YES"}, f"{T1}_ce-contrast_T1w"),
        ({"kind": "IRT1", "InversionTime": 699.6}, f"{T1}_inv-700_IRT1"),
        ({"kind": "T2w", "ImageType": ["ORIGINAL", "PRIMARY", "P"]}, f"{T1}_part-phase_T2w"),
        ({"kind": "T2w", "part": "REAL"}, f"{T1}_part-real_T2w"),
        ({"kind": "T2w", "part": "MAGNITUDE"}, f"{T1}_T2w"),
        ({"kind": "FLAIR"}, f"{T1}_FLAIR"),
        ({"kind": "TOF"}, f"{T1}_angio"),
        # FWD is with the axis: sign and label were both the other way round before.
        (
            {"kind": "bold", "SeriesDescription": "rsfMRI_2mm", "phase": "j"},
            f"{FOLDER.format('func')}_task-rest_dir-FWD_bold",
        ),
        (
            {"kind": "bold", "SeriesDescription": "Emotional N-Back (1)", "phase": "j-"},
            f"{FOLDER.format('func')}_task-EmotionalNBack1_dir-REV_bold",
        ),
        ({"kind": "bold"}, f"{FOLDER.format('func')}_task-unknown_bold"),
        ({"kind": "sbref", "SeriesDescription": "RSF"}, f"{FOLDER.format('func')}_task-rest_sbref"),
        (
            {"kind": "epi", "SeriesDescription": "SpinEchoFieldMap_AP", "ProtocolName": "x_AP"},
            f"{FOLDER.format('fmap')}_acq-rest_dir-AP_epi",
        ),
        (
            {"kind": "epi", "SeriesDescription": "se_tfMRI", "ProtocolName": "x_pa", "phase": "j-"},
            f"{FOLDER.format('fmap')}_acq-task_dir-REV_epi",
        ),
        ({"kind": "epi", "SeriesDescription": "map"}, f"{FOLDER.format('fmap')}_epi"),
        ({"kind": "magnitude", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]}, f"{FOLDER.format('fmap')}_magnitude1"),
        ({"kind": "phasediff", "ImageType": ["ORIGINAL", "PRIMARY", "P"]}, f"{FOLDER.format('fmap')}_phasediff"),
        ({"kind": "dwi", "phase": "i"}, f"{FOLDER.format('dwi')}_dir-FWD_dwi"),
        ({"kind": "dwi_sbref", "ProtocolName": "dwi_rl"}, f"{FOLDER.format('dwi')}_dir-RL_sbref"),
        ({"kind": "dwi_sbref", "ProtocolName": "dwi_map"}, f"{FOLDER.format('dwi')}_sbref"),
    ],
)  # fmt: skip
def test_each_type_has_its_place(row: dict[str, Any], expected: str) -> None:
    assert paths(row) == [(expected, None)]
    assert VALID.fullmatch(expected)


@pytest.mark.acceptance("D50")
@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ("dwi_derived", "BIDS has no place for dwi_derived"),
        ("IRT1", "BIDS tells IRT1 by its InversionTime, which is not stated"),
        ("localizer", "BIDS has no place for localizer"),
        ("my_own", "BIDS has no place for my_own"),
        (None, "no rule tells what kind of sequence it is"),
    ],
)
def test_what_has_no_place_says_why(kind: str | None, why: str) -> None:
    assert paths({"kind": kind}, {"kind": kind}) == [(None, why), (None, why)]


@pytest.mark.acceptance("D50")
def test_a_negative_inversion_time_is_no_label() -> None:
    why = "BIDS tells IRT1 by its InversionTime, which is not stated"
    assert paths({"kind": "IRT1", "InversionTime": -5.0}) == [(None, why)]


@pytest.mark.acceptance("D50")
def test_runs_are_counted_in_the_order_of_time() -> None:
    found = paths(
        {"kind": "T1w", "series_at": "2018-01-24 11:00:00"},
        {"kind": "T1w", "series_at": "2018-01-24 10:00:00"},
        {"kind": "T1w", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"]},
    )
    assert [path for path, _ in found] == [
        f"{T1}_run-2_T1w", f"{T1}_run-1_T1w", f"{T1}_rec-norm_T1w",
    ]  # fmt: skip


@pytest.mark.acceptance("D50")
def test_series_of_one_acquisition_share_a_run() -> None:
    phase = ["ORIGINAL", "PRIMARY", "P"]
    bold = {"kind": "bold", "SeriesDescription": "rsf"}
    found = paths(
        bold | {"acquired": "11:00:00", "EchoTime": 12.0},
        bold | {"acquired": "11:00:00", "EchoTime": 30.0},
        bold | {"acquired": "11:00:00", "EchoTime": 30.0, "ImageType": phase},
        bold | {"acquired": "10:00:00", "EchoTime": 30.0},
        bold | {"acquired": "11:00:00", "EchoTime": 30.0},
    )
    stem = f"{FOLDER.format('func')}_task-rest_run"
    assert [path for path, _ in found] == [
        f"{stem}-2_echo-1_part-mag_bold", f"{stem}-2_echo-2_part-mag_bold", f"{stem}-2_echo-2_part-phase_bold",
        f"{stem}-1_bold", f"{stem}-3_bold",
    ]  # fmt: skip


@pytest.mark.acceptance("D50")
def test_magnitudes_are_named_by_what_is_beside_them() -> None:
    assert [path for path, _ in paths(
        {"kind": "magnitude", "EchoTime": 7.38}, {"kind": "magnitude", "EchoTime": 4.92}, {"kind": "phasediff"},
    )] == [f"{FOLDER.format('fmap')}_{name}" for name in ("magnitude2", "magnitude1", "phasediff")]  # fmt: skip
    assert [path for path, _ in paths({"kind": "magnitude"}, {"kind": "fieldmap"})] == [
        f"{FOLDER.format('fmap')}_{name}" for name in ("magnitude", "fieldmap")
    ]


@pytest.mark.acceptance("D50")
def test_ids_are_sanitised_without_merging_patients() -> None:
    found = [
        path
        for path, _ in paths(
            {"kind": "FLAIR", "PatientID": "../../A-1"}, {"kind": "FLAIR", "PatientID": "a1"},
            {"kind": "FLAIR", "PatientID": "B 2"}, {"kind": "FLAIR", "PatientID": "\u5c71"},
            {"kind": "FLAIR", "PatientID": None},
        )
    ]  # fmt: skip
    assert all(VALID.fullmatch(path or "") for path in found)
    assert (found[2] or "").startswith("sub-B2/")
    assert re.fullmatch(r"sub-A1x[0-9a-f]{6}", (found[0] or "").split("/")[0])
    assert re.fullmatch(r"sub-a1x[0-9a-f]{6}", (found[1] or "").split("/")[0])


@pytest.mark.acceptance("D50")
def test_studies_of_one_minute_or_without_date_are_sessions_of_their_own() -> None:
    found = [
        path
        for path, _ in paths(
            {"kind": "FLAIR", "study": "a"}, {"kind": "FLAIR", "study": "b", "StudyTime": "10:44:59"},
            {"kind": "FLAIR", "study": "c", "StudyDate": None}, {"kind": "FLAIR", "study": "d", "StudyTime": None},
        )
    ]  # fmt: skip
    assert len(set(found)) == 4
    assert all(VALID.fullmatch(path or "") for path in found)
    assert "_run-" not in "".join(map(str, found))
    assert (found[3] or "").split("/")[1] == "ses-20180124"


@settings(
    max_examples=settings().max_examples // 5,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    st.lists(
        st.fixed_dictionaries(
            {
                "kind": st.sampled_from(["T1w", "bold", "dwi", "epi", "magnitude"]),
                "PatientID": st.sampled_from(["A-1", "A1", "a1", "A.1", "", "?"]),
                "study": st.sampled_from(["a", "b"]),
                "SeriesDescription": st.sampled_from([None, "rsf", "x y", "X-Y"]),
                "phase": st.sampled_from([None, "j", "j-"]),
                "acquired": st.sampled_from([None, "10:00:00", "11:00:00"]),
                "EchoTime": st.sampled_from([None, 3.0, 5.0]),
                "ImageType": st.sampled_from(
                    [["A", "B", "M"], ["A", "B", "P"], ["A", "B", "M", "NORM"]]
                ),
            }
        ),
        min_size=1,
        max_size=25,
    )
)
@pytest.mark.acceptance("D50")
def test_no_two_series_have_one_path_whatever_its_case(rows: list[dict[str, Any]]) -> None:
    found = [path or "" for path, _ in paths(*rows)]
    assert len({path.lower() for path in found}) == len(rows)
    assert all(VALID.fullmatch(path) for path in found)
