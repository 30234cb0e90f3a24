"""BIDS data sets of de-identified files: nothing of a person, the same pixels, whole series alone."""

from __future__ import annotations

import csv
import datetime as dt
import gzip
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

import warehouse
from tests.asking import cohort_of
from tests.bids.conftest import session
from tests.command_line import run
from tests.deidentify.planted import DEVICE, HOSPITAL, ID, NAME, NOTE, SECRETS
from warehouse.bids.export import Options
from warehouse.cohorts.provenance import verify
from warehouse.deidentify import export
from warehouse.deidentify.check import check
from warehouse.deidentify.key import Key
from warehouse.deidentify.options import Deidentify
from warehouse.errors import ExportFailed, UsageError

if TYPE_CHECKING:
    from pathlib import Path

KEY = Key(b"k" * 32)
nibabel = pytest.importorskip("nibabel")


@dataclass(frozen=True)
class Both:
    """A session as a data set with identity and without."""

    wh: warehouse.Warehouse
    uids: dict[str, str]
    plain: Path
    folder: Path
    how: Deidentify
    facts: dict[str, Any]
    sources: Path

    def rows(self, name: str) -> list[dict[str, str]]:
        with (self.folder / name).open(newline="") as file:
            return list(csv.DictReader(file, delimiter="\t"))

    @property
    def names(self) -> set[str]:
        """Names of its series."""
        return {name for name, uid in self.uids.items() if list(self.sources.glob(f"{uid}-*"))}

    def why_not(self) -> dict[str, str]:
        return {row["series_key"]: row["why_not"] for row in self.rows("series.tsv")}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Both:
    return both_of(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Two series of the session, one of which loses an instance."""
    return both_of(tmp_path_factory.mktemp("few"), "T1w", "T1w third")


@pytest.fixture
def both(request: pytest.FixtureRequest) -> Both:
    """The two series, or every series of a session: its parameter."""
    found: Both = request.getfixturevalue(request.param)
    return found


def both_of(root: Path, *only: str) -> Both:
    uids = session(root / "in")
    for path in (root / "in").glob("*.dcm"):
        if only and path.name.partition("-")[0] not in {uids[name] for name in only}:
            path.unlink()
            continue
        made = pydicom.dcmread(path)
        made.PatientName, made.PatientID, made.InstitutionName = NAME, ID, HOSPITAL
        made.DeviceSerialNumber = made.StationName = DEVICE
        made.SeriesDescription = f"{made.SeriesDescription} Quxhausen"
        made.ImageComments, made.ProtocolName = NOTE, f"for {NAME}"
        if made.SeriesInstanceUID == uids["T1w third"] and made.InstanceNumber == 2:
            made.BurnedInAnnotation = "YES"
        made.save_as(path)
    wh = warehouse.open(root / "w", create=True)
    wh.ingest(root / "in", workers=1)
    cohort_of(wh, "all_of_it", "select series_key from instances")
    how = Deidentify(
        retain=("dates-shifted", "patient", "safe-private"), clean=("descriptors",), key=KEY,
        workers=1,
    )  # fmt: skip
    facts = wh.export("all_of_it", root / "out", "bids", deidentify=how)
    wh.export("all_of_it", root / "plain", "bids")
    return Both(wh, uids, root / "plain", root / "out", how, facts, root / "in")


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.dcm")}


def contents(folder: Path) -> bytes:
    """Return all bytes of a folder, unpacked, and all names."""
    found = []
    for path in sorted(folder.rglob("*")):
        found.append(str(path.relative_to(folder)).encode())
        if path.is_file():
            content = path.read_bytes()
            found.append(gzip.decompress(content) if path.suffix == ".gz" else content)
    return b"\n".join(found).lower()


@pytest.mark.parametrize(
    "both",
    [
        "few",
        pytest.param(
            "whole", marks=pytest.mark.long("test_no_secret_is_in_any_byte_of_a_data_set")
        ),
    ],
    indirect=True,
)
@pytest.mark.acceptance("D80")
def test_no_secret_is_in_any_byte_of_a_data_set(both: Both) -> None:
    found = check(both.folder, both.wh.root)
    assert found.survivors == ()
    assert found.values > (20 if "bold" in both.names else 15)
    everything = contents(both.folder)
    for secret in (*SECRETS, "1.2.9", "all_of_it", "20200102", "2020-01-02", str(both.wh.root)):
        assert secret.lower().encode() not in everything, secret
    # What shows that it would be found: the data set with identity.
    assert len(check(both.plain, both.wh.root).survivors) > 8
    assert ID.lower().encode() in contents(both.plain)


@pytest.mark.parametrize(
    "both",
    [
        "few",
        pytest.param(
            "whole", marks=pytest.mark.long("test_sidecars_and_tables_are_those_of_the_new_headers")
        ),
    ],
    indirect=True,
)
def test_sidecars_and_tables_are_those_of_the_new_headers(both: Both) -> None:
    patient = KEY.patient(ID)
    (person,) = both.rows("participants.tsv")
    label = patient.replace("-", "")
    assert person == {"participant_id": f"sub-{label}", "age": "89", "sex": "F"}  # it was 94 years
    day = dt.datetime.fromisoformat("2020-01-02T10:00") - dt.timedelta(days=KEY.days(ID))
    (only,) = both.rows(f"sub-{label}/sub-{label}_sessions.tsv")
    assert only == {"session_id": f"ses-{day:%Y%m%d%H%M}", "acq_time": day.isoformat()}
    scans = both.rows(
        f"sub-{label}/ses-{day:%Y%m%d%H%M}/sub-{label}_ses-{day:%Y%m%d%H%M}_scans.tsv"
    )
    assert {row["acq_time"][:10] for row in scans} == {f"{day:%Y-%m-%d}"}
    series = {KEY.uid(uid) for uid in both.uids.values()}
    for path in both.folder.rglob("*/anat/*.json"):
        said = json.loads(path.read_text())
        assert said["SeriesInstanceUID"] in series
        assert said["StudyInstanceUID"] == KEY.uid("1.2.9")
        assert said.get("DeviceSerialNumber", "REMOVED") != DEVICE
        assert said.get("InstitutionName", "REMOVED") == "REMOVED"
        assert said["SeriesDescription"] == "t1 mprage"
        assert said["AcquisitionTime"].startswith("10")


@pytest.mark.parametrize(
    "both",
    [
        "few",
        pytest.param(
            "whole", marks=pytest.mark.long("test_pixels_are_those_of_the_data_set_with_identity")
        ),
    ],
    indirect=True,
)
def test_pixels_are_those_of_the_data_set_with_identity(both: Both) -> None:
    made: dict[str, list[np.ndarray]] = {}
    for folder in (both.plain, both.folder):
        for path in folder.rglob("*.nii.gz"):
            said = json.loads(path.with_name(path.name.replace(".nii.gz", ".json")).read_text())
            uid = said["SeriesInstanceUID"]
            key = (uid if uid.startswith("2.25.") else KEY.uid(uid)) + str(said.get("EchoTime"))
            image = nibabel.load(path)
            made.setdefault(key, []).append(np.asarray(image.dataobj))
            made.setdefault(key + "affine", []).append(image.affine)
    pairs = [found for found in made.values() if len(found) == 2]
    # An image and its affine for each series, and for the whole session at least twelve.
    assert len(pairs) >= (12 if "bold" in both.names else 2)
    for plain, other in pairs:
        np.testing.assert_array_equal(plain, other)


@pytest.mark.parametrize(
    "both",
    [
        "few",
        pytest.param(
            "whole",
            marks=pytest.mark.long(
                "test_a_series_that_lost_an_instance_is_not_taken_for_a_whole_one"
            ),
        ),
    ],
    indirect=True,
)
def test_a_series_that_lost_an_instance_is_not_taken_for_a_whole_one(both: Both) -> None:
    why = both.why_not()
    assert why[KEY.uid(both.uids["T1w third"])] == "only 3 of 4 instances"
    assert why[KEY.uid(both.uids["T1w"])] == "n/a"
    assert both.facts["counts"]["left_out"] == 1
    # Whatever is written with identity is written, but for field maps whose direction stands in a
    # private element that is not known to be safe.
    with (both.plain / "series.tsv").open(newline="") as file:
        plain = {
            KEY.uid(r["series_key"]): r["why_not"] for r in csv.DictReader(file, delimiter="\t")
        }
    lost = {key for key, reason in plain.items() if reason == "n/a"} - {
        key for key, reason in why.items() if reason == "n/a"
    }
    field_maps = both.names & {"epi forth", "epi back"}
    assert lost == {KEY.uid(both.uids[name]) for name in ("T1w third", *field_maps)}
    for name in field_maps:
        assert why[KEY.uid(both.uids[name])] == (
            "BIDS requires PhaseEncodingDirection for an epi, which is not stated"
        )


@pytest.mark.parametrize(
    "both",
    [
        "few",
        pytest.param(
            "whole", marks=pytest.mark.long("test_a_data_set_can_be_verified_and_says_what_it_is")
        ),
    ],
    indirect=True,
)
def test_a_data_set_can_be_verified_and_says_what_it_is(both: Both) -> None:
    assert verify(both.folder).problems == ()
    about = json.loads((both.folder / "cohort.json").read_text())
    assert about["deidentified"]["options"] == [
        "patient", "dates-shifted", "safe-private", "descriptors",
    ]  # fmt: skip
    assert not {"run", "cohort", "parameters", "warehouse"} & set(about)
    readme = (both.folder / "README").read_text()
    assert "Faces have not been removed" in readme
    assert "/audit.parquet\n" in (both.folder / ".bidsignore").read_text()
    assert not list(both.folder.parent.glob(".out*"))


@pytest.mark.parametrize("both", ["few"], indirect=True)
def test_a_stopped_data_set_is_gone_on_with_what_was_treated(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def stops(treated: Path, *_: object, **__: object) -> None:
        given.append(tree(treated))
        raise KeyboardInterrupt

    monkeypatch.setattr(export, "data_set", stops)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            both.wh.export("all_of_it", tmp_path / "out", "bids", deidentify=both.how)
        assert not (tmp_path / "out").exists()
        # Files that were treated are not treated again.
        monkeypatch.setattr(export, "treat", None)
    assert given[0] == given[1] != {}


@pytest.mark.long("test_a_stopped_data_set_is_gone_on_with_what_was_treated")
@pytest.mark.parametrize("both", ["whole"], indirect=True)
def test_the_same_key_gives_the_same_data_set_also_after_a_stop(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stops(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(export, "data_set", stops)
        with pytest.raises(KeyboardInterrupt):
            both.wh.export("all_of_it", tmp_path / "out", "bids", deidentify=both.how)
    both.wh.export("all_of_it", tmp_path / "out", "bids", deidentify=both.how)
    names = sorted(path.relative_to(both.folder) for path in both.folder.rglob("*"))
    assert names == sorted(
        path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*")
    )
    for name in names:
        if (both.folder / name).is_file():
            assert (tmp_path / "out" / name).read_bytes() == (both.folder / name).read_bytes(), name


@pytest.mark.parametrize("both", ["few"], indirect=True)
def test_the_command_passes_on_that_there_are_to_be_no_identifiers(
    both: Both, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def fails(_: Path, __: object, ___: object, options: Options, ____: object) -> None:
        given.append(options)
        raise ExportFailed("out", "a test stops it")

    monkeypatch.setattr(export, "data_set", fails)
    done = run(
        "cohort", "export", "all_of_it", str(tmp_path / "out"), "--format", "bids",
        "--deidentify", "basic", "--no-identifiers", "-w", str(both.wh.root),
    )  # fmt: skip
    assert "a test stops it" in done.stderr
    assert given == [Options(identifiers=False)]


@pytest.mark.long("test_the_command_passes_on_that_there_are_to_be_no_identifiers")
@pytest.mark.parametrize("both", ["whole"], indirect=True)
def test_the_command_writes_a_data_set_without_identifiers(both: Both, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    done = run(
        "cohort", "export", "all_of_it", out, "--format", "bids", "--deidentify", "basic",
        "--no-identifiers", "-w", str(both.wh.root),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "1 instance left out" in done.stdout
    for path in (tmp_path / "out").rglob("*.json"):
        assert not {"SeriesInstanceUID", "AcquisitionTime", "StationName"} & set(
            json.loads(path.read_text())
        )
    assert check(tmp_path / "out", both.wh.root).survivors == ()


@pytest.mark.parametrize("both", ["few"], indirect=True)
def test_options_of_a_data_set_are_refused_elsewhere(both: Both, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="takes no identifiers"):
        both.wh.export(
            "all_of_it", tmp_path / "out", "copy", deidentify=both.how, identifiers=False
        )
