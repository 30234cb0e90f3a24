"""Create the files that describe a data set: participants, sessions, scans, description, README.

In: records of the written images, and facts about patients. Out: contents by file name.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.provenance import ABOUT, MANIFEST
from warehouse.cohorts.runs import package_version

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from warehouse.bids.written import Written
    from warehouse.cohorts.runs import Run

VERSION = "1.11.0"
"""Version of BIDS; the validator of the tests has a schema of its major and minor number."""
SERIES = "series.tsv"
_OLDEST = 89
"""BIDS: ages over 89 are a risk to privacy; they are written as 89."""
_SEXES = {"M": "M", "F": "F", "O": "O"}

_PARTICIPANTS = {
    "participant_id": {"Description": "Label of the subject, derived from PatientID"},
    "age": {
        "Description": f"PatientAge of the first study that states one; {_OLDEST} stands for more",
        "Units": "year",
    },
    "sex": {
        "Description": "PatientSex", "Levels": {"M": "male", "F": "female", "O": "other"},
    },
}  # fmt: skip
_SESSIONS = {
    "session_id": {"Description": "Label of the session, derived from date and time of the study"},
    "acq_time": {"Description": "StudyDate and StudyTime, in the clock of the device"},
}
_SCANS = {
    "acq_time": {
        "Description": "AcquisitionDate and AcquisitionTime of the first image, else those of the "
        "series, in the clock of the device"
    }
}

_README = """\
Magnetic resonance images, exported from an archive of DICOM files
==================================================================

This data set was written by dicom-warehouse {version} from the run {run} of the cohort {cohort}.

- cohort.json states the query, its parameters, the version of the archive and a digest of the
  instances that were exported.
- series.tsv has one row per series of the run: its images, or the reason why there are none, and
  notes on what was omitted or changed.
- manifest.csv has the sha256 of each file; `dicom-warehouse cohort verify FOLDER` compares them.

Labels of subjects are derived from PatientID, those of sessions from date and time of the study,
those of tasks from SeriesDescription. DICOM does not state which images a field map is for: it was
assigned to the later images of its session. Images have the orientation in which they were stored:
columns, rows, slices.
"""


def root_files(run: Run, rows: Sequence[Mapping[str, Any]]) -> dict[str, bytes]:
    """Return the top-level files that do not depend on patients."""
    readme = _README.format(version=package_version(), run=run.run, cohort=run.cohort)
    return {
        "dataset_description.json": _dataset_description(f"{run.cohort}, run {run.run}", run),
        "README": readme.encode(),
        ".bidsignore": _bidsignore(),
        SERIES: tsv(("series_key", "files", "why_not", "notes"), rows),
    }


def descriptions_without(run: Run, readme: str, beside: Iterable[str]) -> dict[str, bytes]:
    """Return the top-level files that describe the run, without its name and cohort."""
    return {
        "dataset_description.json": _dataset_description("De-identified images", run),
        "README": readme.encode(),
        ".bidsignore": _bidsignore(*beside),
    }


def _dataset_description(name: str, run: Run) -> bytes:
    return json_bytes({
        "Name": name,
        "BIDSVersion": VERSION,
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "dicom-warehouse", "Version": package_version()}],
        "SourceDatasets": [{"Version": run.digest}],
    })  # fmt: skip


def _bidsignore(*beside: str) -> bytes:
    return "".join(f"/{name}\n" for name in (ABOUT, MANIFEST, SERIES, *beside)).encode()


def patient_files(
    images: Iterable[Written], known: Mapping[str, Mapping[str, Any]], *, identifiers: bool
) -> dict[str, bytes]:
    """Return the tables of participants, sessions and scans, and their sidecars.

    Parameters
    ----------
    images
        Records of the written images.
    known
        Series key → ``sex``, ``age`` and ``study_at``.
    identifiers
        Write age, sex, dates and times.
    """
    participants: dict[str, dict[str, Any]] = {}
    sessions: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    scans: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for image in sorted(images, key=lambda image: image.name):
        facts = known[image.series_key]
        age = facts["age"]
        participants.setdefault(image.subject, {
            "participant_id": f"sub-{image.subject}",
            "age": None if age is None else min(int(age), _OLDEST),
            "sex": _SEXES.get(facts["sex"]),
        })  # fmt: skip
        sessions[image.subject].setdefault(image.session, {
            "session_id": f"ses-{image.session}", "acq_time": _iso_time(facts["study_at"]),
        })  # fmt: skip
        name = image.name.split("/", 2)[2]
        row = {"filename": f"{name}.nii.gz", "acq_time": _iso_time(image.acquired_at)}
        scans[image.subject, image.session].append(row)
    person_columns = ("participant_id", "age", "sex") if identifiers else ("participant_id",)
    files = {
        "participants.tsv": tsv(person_columns, list(participants.values())),
        "participants.json": json_bytes({name: _PARTICIPANTS[name] for name in person_columns}),
    }
    for subject, of_subject in sessions.items():
        columns = ("session_id", "acq_time") if identifiers else ("session_id",)
        stem = f"sub-{subject}/sub-{subject}_sessions"
        files[f"{stem}.tsv"] = tsv(columns, list(of_subject.values()))
        files[f"{stem}.json"] = json_bytes({name: _SESSIONS[name] for name in columns})
    for (subject, session), rows in scans.items():
        columns = ("filename", "acq_time") if identifiers else ("filename",)
        stem = f"sub-{subject}/ses-{session}/sub-{subject}_ses-{session}_scans"
        files[f"{stem}.tsv"] = tsv(columns, rows)
        if identifiers:
            files[f"{stem}.json"] = json_bytes(_SCANS)
    return files


def tsv(columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Return a table in the format of BIDS: tabs, and ``n/a`` for missing values."""
    lines = [columns, *([_cell(row[name]) for name in columns] for row in rows)]
    return "".join("\t".join(line) + "\n" for line in lines).encode()


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Return JSON, which is identical for identical content."""
    return (json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _cell(value: Any) -> str:
    if value in (None, ""):
        return "n/a"
    return " ".join(str(value).split())


def _iso_time(moment: dt.datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
