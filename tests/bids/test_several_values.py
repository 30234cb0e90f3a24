"""Series of several echo or inversion times: files of their own, or a reason; series without images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import warehouse
from tests.asking import cohort_of
from tests.bids.conftest import GRE, DataSet, series
from tests.dicom_files import dataset, image, write
from warehouse.bids.refused import Refused
from warehouse.bids.split import pieces

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

LATER = pytest.mark.long("test_parts_of_a_series_have_names_or_a_reason")
STEM = "sub-A1_ses-202001021000"
IR = {"ScanningSequence": ["GR", "IR"], "SequenceVariant": ["SP"], "MRAcquisitionType": "2D",
      "SeriesDescription": "irt1", "EchoTime": 3.0, "RepetitionTime": 4000.0,
      "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"]}  # fmt: skip


def enhanced(uid: str, *echo_times: float, **more: object) -> Dataset:
    """Return an enhanced object of the second patient: two slices at each echo time."""
    frames = [
        dataset(
            MREchoSequence=[dataset(EffectiveEchoTime=echo_time)],
            PlanePositionSequence=[dataset(ImagePositionPatient=[0, 0, level])],
        )
        for echo_time in echo_times
        for level in (0, 2)
    ]
    shared = dataset(
        PixelMeasuresSequence=[dataset(PixelSpacing=[2, 2], SliceThickness=2)],
        PlaneOrientationSequence=[dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])],
    )
    return image(
        f"{uid}.1", SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", Modality="MR", SeriesInstanceUID=uid, PatientID="B",
        StudyInstanceUID="1.2.8", StudyDate="20200103", SeriesDate="20200103", PulseSequenceName="*fm2d2r",
        NumberOfFrames=len(frames), PixelData=bytes(4 * len(frames)), PerFrameFunctionalGroupsSequence=frames,
        SharedFunctionalGroupsSequence=[shared], **more,
    )  # fmt: skip


@pytest.fixture(scope="module")
def read(tmp_path_factory: pytest.TempPathFactory) -> tuple[warehouse.Warehouse, dict[str, str]]:
    """Return a warehouse of the series, and their UIDs by names of cases."""
    root = tmp_path_factory.mktemp("several")
    to = root / "in"
    uids = {
        # SOP Instance UIDs of the second run begin with the later echo.
        "first run": series(to, 1, [{"EchoTime": 4.92}, {"EchoTime": 7.38}], **GRE),
        "second run": series(to, 2, [{"EchoTime": 7.38}, {"EchoTime": 4.92}], **GRE),
        "three echoes": series(
            to, 3, [{"EchoTime": t, "StudyInstanceUID": "1.2.7", "StudyTime": "110000"} for t in (4.92, 7.38, 9.84)], **GRE
        ),
        "inversions": series(to, 4, [{"InversionTime": t} for t in (2500.0, 702.5)], **IR),
        "close inversions": series(to, 5, [{"InversionTime": t} for t in (95.2, 95.4)], **IR),
        "long name": series(to, 7, [{"PatientID": "x" * 300}], **IR, InversionTime=700.0),
        "raw": "1.2.9.6",
        "enhanced": "1.2.8.1",
        "difference": "1.2.8.2",
    }  # fmt: skip
    write(
        to / "raw.dcm",
        image("1.2.9.6.1", SOPClassUID="1.2.840.10008.5.1.4.1.1.66", Modality="MR", SeriesInstanceUID="1.2.9.6",
              PatientID="A-1", StudyInstanceUID="1.2.9", SeriesDescription="T1w 3D", PixelData=None),
    )  # fmt: skip
    write(to / "magnitudes.dcm", enhanced("1.2.8.1", 4.6, 6.9, ComplexImageComponent="MAGNITUDE"))
    write(to / "difference.dcm", enhanced("1.2.8.2", 6.9, ComplexImageComponent="PHASE"))
    wh = warehouse.open(root / "w", create=True)
    wh.ingest(to, workers=1)
    return wh, uids


@pytest.fixture(scope="module")
def written(
    read: tuple[warehouse.Warehouse, dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> DataSet:
    wh, uids = read
    folder = tmp_path_factory.mktemp("written") / "d"
    cohort_of(wh, "all", "select series_key from series")
    return DataSet(wh, uids, folder, wh.export("all", folder, "bids"))


def files(written: DataSet, name: str) -> list[str]:
    (row,) = [r for r in written.table("series.tsv") if r["series_key"] == written.uids[name]]
    return sorted(file.rpartition("/")[2].removesuffix(".nii.gz") for file in row["files"].split())


def test_parts_of_a_series_have_names_or_a_reason(
    read: tuple[warehouse.Warehouse, dict[str, str]],
) -> None:
    """The short form of all that follow, which look at what was exported."""
    wh, uids = read

    def names(case: str, suffix: str, *labels: str) -> list[str]:
        volume = wh.volume(uids[case])
        parts = pieces(volume, f"sub-A1/anat/sub-A1_{suffix}", suffix, labels, None)
        return sorted(part.name.rpartition("/")[2] for part in parts)

    assert names("second run", "magnitude1") == ["sub-A1_magnitude1", "sub-A1_magnitude2"]
    with pytest.raises(Refused, match="more than two echo times"):
        names("three echoes", "magnitude1")
    assert names("inversions", "IRT1", "inv") == ["sub-A1_inv-2500_IRT1", "sub-A1_inv-703_IRT1"]
    with pytest.raises(Refused, match="same in whole ms"):
        names("close inversions", "IRT1", "inv")


@LATER
def test_magnitudes_in_one_series_do_not_depend_on_the_order_of_uids(written: DataSet) -> None:
    for number, name in ((1, "first run"), (2, "second run")):
        names = [f"{STEM}_run-{number}_magnitude{echo}" for echo in (1, 2)]
        assert files(written, name) == names
        told = [
            written.sidecar(f"sub-A1/ses-202001021000/fmap/{each}")["EchoTime"] for each in names
        ]
        assert told == [0.00492, 0.00738]


@LATER
def test_a_third_magnitude_has_no_name(written: DataSet) -> None:
    # BIDS 1.11, "Types of fieldmaps": magnitude1 and magnitude2, phase1 and phase2, none further.
    assert "more than two echo times" in written.why_not()[written.uids["three echoes"]]


@LATER
def test_inversion_times_of_one_series_are_files_of_their_own(written: DataSet) -> None:
    # 702.5 becomes 703 as in the view: round() of Python makes it 702.
    assert files(written, "inversions") == [f"{STEM}_inv-{ti}_IRT1" for ti in (2500, 703)]


@LATER
def test_no_image_replaces_another_one_of_the_same_name(written: DataSet) -> None:
    assert "same in whole ms" in written.why_not()[written.uids["close inversions"]]


@LATER
def test_a_series_without_images_has_no_path(written: DataSet) -> None:
    # Raw data have Modality MR and the description of their images; the export failed for them.
    assert written.why_not()[written.uids["raw"]] == "it has no images"


@LATER
def test_echo_times_of_enhanced_magnitudes_are_those_of_the_difference(written: DataSet) -> None:
    (name,) = files(written, "difference")
    folder = f"sub-B/{name.split('_')[1]}/fmap"
    told = written.sidecar(f"{folder}/{name}")
    assert (told["EchoTime1"], told["EchoTime2"]) == (0.0046, 0.0069)


@LATER
def test_a_day_without_a_time_is_not_midnight(written: DataSet) -> None:
    assert [row["acq_time"] for row in written.table("sub-B/sub-B_sessions.tsv")] == ["n/a"]
    scans = written.table("sub-B/ses-20200103/sub-B_ses-20200103_scans.tsv")
    assert {row["acq_time"] for row in scans} == {"n/a"}


@LATER
def test_a_name_that_no_file_can_have_is_a_reason(written: DataSet) -> None:
    # The export failed with an OSError that showed the PatientID.
    assert "more than 255 characters" in written.why_not()[written.uids["long name"]]
