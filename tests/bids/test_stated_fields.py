"""Where the fields of a sidecar are found in headers that are not classic, and in payloads of makers.

The values are those that dcm2niix v1.0.20260724 writes of such files
(`benchmarks/against_dcm2niix.py` compares them on real ones).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedMRImageStorage, MRImageStorage

import warehouse
from tests.dicom_files import dataset, image, write
from tests.flat import planned_once
from tests.vendor_payloads import add_private, ascconv, csa
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from pathlib import Path

PHILIPS = "Philips MR Imaging DD 005"
AXES = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
PIXELS = {"Modality": "MR", "Rows": 4, "Columns": 4, "BitsAllocated": 16, "BitsStored": 12}


def philips_classic(**attributes: Any) -> Dataset:
    """Return an item with elements of the classic object, as (2005,xx0E) and (2005,xx0F) hold them."""
    return dataset(SOPClassUID=MRImageStorage, **attributes)


def philips() -> Dataset:
    shared = dataset(
        MRFOVGeometrySequence=[dataset(
            PercentSampling=80, PercentPhaseFieldOfView=90, InPlanePhaseEncodingDirection="COLUMN",
            MRAcquisitionPhaseEncodingStepsInPlane=63,
        )],
        MRImagingModifierSequence=[dataset(
            PixelBandwidth=1886.92, TransmitterFrequency=127.783018, MagnetizationTransfer="NONE"
        )],
        MRModifierSequence=[dataset(Spoiling="NONE")],
        MRReceiveCoilSequence=[dataset(ReceiveCoilName="SENSE-Head-8")],
    )  # fmt: skip
    # What the standard group says counts, though the private item says otherwise.
    hidden = philips_classic(
        NumberOfPhaseEncodingSteps=63, Spoiling="RF", PartialFourierDirection="FREQUENCY",
        ParallelReductionFactorInPlane=1.5, ParallelReductionFactorOutOfPlane=1.0,
    )  # fmt: skip
    add_private(shared, PHILIPS, 0x2005, 0x14, x0E=("SQ", [hidden]))
    frames = []
    for number in range(2):
        frame = dataset(PlaneOrientationSequence=[dataset(ImageOrientationPatient=AXES)])
        own = philips_classic(
            ScanningSequence="GR", SequenceVariant=["SK", "SP"], AcquisitionNumber=7,
            AcquisitionMatrix=[64, 0, 0, 63], ImageType=["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"],
            NumberOfAverages=1 + number,
        )  # fmt: skip
        add_private(frame, PHILIPS, 0x2005, 0x14, x0F=("SQ", [own]))
        frames.append(frame)
    return image(
        "1.1", SOPClassUID=EnhancedMRImageStorage, Manufacturer="Philips Medical Systems", NumberOfFrames=2,
        SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=frames,
        PixelData=bytes(64), SeriesInstanceUID="1.2.1", **PIXELS,
    )  # fmt: skip


def siemens_xa() -> Dataset:
    frame = dataset(PlaneOrientationSequence=[dataset(ImageOrientationPatient=AXES)])
    own = dataset()
    add_private(
        own, "SIEMENS MR SDI 02", 0x21, 0x11, x42=("IS", 7500), x4F=("LO", "HE1-4"),
        x75=("CS", ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]),
    )  # fmt: skip
    add_private(frame, "SIEMENS MR SDI 02", 0x21, 0x11, xFE=("SQ", [own]))
    return image(
        "2.1", SOPClassUID=EnhancedMRImageStorage, Manufacturer="Siemens", NumberOfFrames=1,
        ImageType=["ORIGINAL", "PRIMARY", "M", "NONE"], PerFrameFunctionalGroupsSequence=[frame],
        PixelData=bytes(32), SeriesInstanceUID="1.2.2", **PIXELS,
    )  # fmt: skip


def siemens_without_creator() -> Dataset:
    made = image(
        "3.1", SOPClassUID=MRImageStorage, Manufacturer="SIEMENS", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"],
        PixelData=bytes(32), SeriesInstanceUID="1.2.3", **PIXELS,
    )  # fmt: skip
    protocol = ascconv(
        'tProtocolName = ""Flair 3D SAG 1x1x1""', 'tSequenceFileName = ""%SiemensSeq%\\tse_vfl""',
        "sPat.lAccelFactPE = 2", "sPat.lAccelFact3D = 2", "sPat.ucPATMode = 0x2", "ucCoilCombineMode = 0x1",
        "lDelayTimeInTR = 500000",
        'asCoilSelectMeas[0].asList[0].sCoilElementID.tCoilID = ""32Ch_Head""',
    )  # fmt: skip
    header = csa(
        [("ImaRelTablePosition", "IS", ["1", "2", "-3"]), ("RealDwellTime", "IS", ["2900"])]
    )
    made.add_new(0x00291010, "OB", header)
    made.add_new(0x00291020, "OB", csa([("MrPhoenixProtocol", "UN", [protocol])]))
    return made


def ge() -> Dataset:
    made = image(
        "4.1", SOPClassUID=MRImageStorage, Manufacturer="GE MEDICAL SYSTEMS", PixelData=bytes(32),
        SeriesInstanceUID="1.2.4", **PIXELS,
    )  # fmt: skip
    add_private(made, "GEMS_PARM_01", 0x43, 0x10, x83=("DS", [0.5, 1]))
    return made


def magnitudes() -> list[Dataset]:
    """Return images of a field map; one states an echo time that is no number."""
    return [
        image(
            f"5.{n}", SOPClassUID=MRImageStorage, Manufacturer="Siemens", PixelData=bytes(32),
            SeriesInstanceUID="1.2.5", StudyInstanceUID="1.5", ImageType=["ORIGINAL", "PRIMARY", "M"],
            SeriesDescription="gre_field_mapping", ScanningSequence="GR", EchoTime=echo_time, **PIXELS,
        )
        for n, echo_time in enumerate(["4.92", "7.38", "NaN"])
    ]  # fmt: skip


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The row of each series."""
    folder: Path = tmp_path_factory.mktemp("stated")
    for made in (philips(), siemens_xa(), siemens_without_creator(), ge(), *magnitudes()):
        write(folder / "in" / str(made.SOPInstanceUID), made)
    wh = warehouse.open(folder / "w", create=True)
    wh.ingest(folder / "in", workers=1)
    # Views that an export asks several times are tables there too.
    with planned_once(wh, "sequence_facts", "series") as connection:
        connection.execute("create temp table members as select instance_key from instances")
        # A relation would plan this large question twice.
        answer = connection.execute(statement("sidecars", "bids"))
        names = [name for name, *_ in answer.description or ()]
        rows = [dict(zip(names, row, strict=True)) for row in answer.fetchall()]
    return {row["series_key"]: row for row in rows}


@pytest.fixture(scope="module")
def fields(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """What is stated of each series, without what is not."""
    return {
        key: {k: v for k, v in row["fields"].items() if v is not None} for key, row in rows.items()
    }


def test_echo_times_of_a_phase_difference_are_numbers(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["1.2.5"]["field_map_echo_times_s"] == pytest.approx([0.00492, 0.00738])


@pytest.mark.parametrize(
    ("series_key", "wanted"),
    [
        ("1.2.1", {
            "ImagingFrequency": 127.783018, "PercentPhaseFOV": 90, "PercentSampling": 80,
            "PhaseEncodingSteps": 63, "AcquisitionMatrixPE": 63, "ReconMatrixPE": 4,
            "PixelBandwidth": 1886.92, "ScanningSequence": "GR", "SequenceVariant": "SK\\SP",
            "AcquisitionNumber": 7, "ParallelReductionFactorInPlane": 1.5,
            "ParallelReductionFactorOutOfPlane": 1, "PartialFourierDirection": "FREQUENCY",
            "SpoilingState": False, "MTState": False, "ReceiveCoilName": "SENSE-Head-8",
            "ImageOrientationPatientDICOM": AXES, "InPlanePhaseEncodingDirectionDICOM": "COL",
        }),
        ("1.2.2", {
            "DwellTime": 7.5e-6, "ReceiveCoilActiveElements": "HE1-4",
            "NonlinearGradientCorrection": True, "ImageOrientationPatientDICOM": AXES,
        }),
        ("1.2.3", {
            "ProtocolName": "Flair 3D SAG 1x1x1", "PulseSequenceDetails": "%SiemensSeq%\\tse_vfl",
            "ParallelReductionFactorInPlane": 2, "ParallelReductionFactorOutOfPlane": 2,
            "MatrixCoilMode": "GRAPPA", "CoilCombinationMethod": "Sum of Squares", "DelayTime": 0.5,
            "ReceiveCoilName": "32Ch_Head", "TablePosition": [1, 2, 3], "DwellTime": 2.9e-6,
            "NonlinearGradientCorrection": False,
        }),
        ("1.2.4", {"ParallelReductionFactorInPlane": 2, "ParallelReductionFactorOutOfPlane": 1}),
    ],
)  # fmt: skip
def test_fields_are_read_where_makers_put_them(
    fields: dict[str, dict[str, Any]], series_key: str, wanted: dict[str, Any]
) -> None:
    assert {name: fields[series_key].get(name) for name in wanted} == wanted


def test_a_value_that_frames_do_not_share_is_none_of_the_series(
    fields: dict[str, dict[str, Any]],
) -> None:
    assert "NumberOfAverages" not in fields["1.2.1"]
