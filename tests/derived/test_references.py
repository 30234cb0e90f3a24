"""What objects refer to, groups of bulk annotations, channels of waveforms."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

import warehouse
from tests.asking import answer_of
from tests.derived_objects import (
    code,
    item,
    report,
    segment,
    segment_frame,
    segmentation,
    structure_set,
)
from tests.dicom_files import dataset, image, write
from warehouse.errors import UnknownPart, WrongObject

if TYPE_CHECKING:
    from tests.small_tables import View


@pytest.fixture(scope="module")
def wh(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    folder = tmp_path_factory.mktemp("references")
    seg = segmentation(
        "1.66.1", np.zeros((3, 2, 2), "u1"),
        [segment_frame(1, 0, "1.1"), segment_frame(1, 2, "1.1"), segment_frame(1, 4, "1.9")], [segment(1)],
        ReferencedSeriesSequence=[dataset(SeriesInstanceUID="1.2.1.1", ReferencedInstanceSequence=[
            dataset(ReferencedSOPInstanceUID="1.1"), dataset(ReferencedSOPInstanceUID="1.9"),
        ])],
    )  # fmt: skip
    evidence = dataset(ReferencedSeriesSequence=[dataset(
        SeriesInstanceUID="1.2.1.1", ReferencedSOPSequence=[dataset(ReferencedSOPInstanceUID="1.1")]
    )])  # fmt: skip
    sr = report(
        "1.88.1", item("IMAGE", "1", ReferencedSOPSequence=[dataset(ReferencedSOPInstanceUID="1.1")]),
        CurrentRequestedProcedureEvidenceSequence=[evidence],
    )  # fmt: skip
    derived = image(
        "1.2", SeriesInstanceUID="1.2.1.2",
        SourceImageSequence=[dataset(
            ReferencedSOPInstanceUID="1.1", PurposeOfReferenceCodeSequence=[code("121322", "DCM", "Source")]
        )],
        ReferencedStudySequence=[dataset(ReferencedSOPInstanceUID="1.2.1")],
    )  # fmt: skip
    objects = [
        image("1.1"),
        seg,
        sr,
        derived,
        structure_set("1.7.1", {"a": None}, series_uid="1.2.9"),
    ]
    for n, one in enumerate(objects):
        write(folder / "in" / str(n), one)
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    return made


def test_every_reference_has_its_purpose_and_series(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select SOPInstanceUID, purpose, purpose_code, referenced_instance_uid, referenced_series_uid, "
        "is_dangling, reference_count from object_references order by all",
    )
    assert rows == [
        ("1.2", "SourceImageSequence", "DCM:121322", "1.1", "1.2.1.1", False, 1),
        ("1.66.1", "ReferencedInstanceSequence", None, "1.1", "1.2.1.1", False, 1),
        ("1.66.1", "ReferencedInstanceSequence", None, "1.9", "1.2.1.1", True, 1),
        ("1.66.1", "SourceImageSequence", None, "1.1", "1.2.1.1", False, 2),
        ("1.66.1", "SourceImageSequence", None, "1.9", "1.2.1.1", True, 1),
        ("1.7.1", "RTReferencedSeriesSequence", None, None, "1.2.9", True, 1),
        ("1.88.1", "ReferencedSOPSequence", None, "1.1", "1.2.1.1", False, 2),
    ]
    assert answer_of(wh, "select count(*), sum(reference_count) from dangling_references") == [
        (3, 3)
    ]


@pytest.mark.acceptance("R14")
def test_images_with_a_segmentation_and_a_report_are_one_join(wh: warehouse.Warehouse) -> None:
    rows = answer_of(
        wh,
        "select referenced_series_uid from object_references where Modality in ('SEG', 'SR') and not is_dangling "
        "group by 1 having count(distinct Modality) = 2",
    )
    assert rows == [("1.2.1.1",)]


def test_annotation_groups_have_the_columns_of_idc(sample: warehouse.Warehouse) -> None:
    rows = answer_of(
        sample,
        "select AnnotationCoordinateType, AnnotationGroupNumber, AnnotationGroupUID, AnnotationGroupLabel, "
        "AnnotationGroupGenerationType, NumberOfAnnotations, GraphicType, annotation_property_type.CodeMeaning, "
        "annotation_property_category.CodeValue, AlgorithmName from annotation_groups order by item",
    )
    assert rows == [
        ("2D", 1, "1.5.1", "nuclei", "AUTOMATIC", 3, "POINT", "Nucleus", "91723000", "net"),
        ("2D", 2, None, None, None, 0, "POLYGON", None, None, None),
    ]


def test_waveforms_equal_the_reading_of_pydicom(sample: warehouse.Warehouse) -> None:
    read = pydicom.dcmread(str(get_testdata_file("waveform_ecg.dcm")))
    group = read.WaveformSequence[1]
    found = answer_of(
        sample,
        "select channel_source, unit, ChannelSensitivity, SamplingFrequency, duration_s from waveform_channels "
        f"where SOPInstanceUID = '{read.SOPInstanceUID}' and group_item = 1 order by channel_item",
    )
    assert found == [
        (
            channel.ChannelSourceSequence[0].CodeMeaning,
            channel.ChannelSensitivityUnitsSequence[0].CodeValue, channel.ChannelSensitivity,
            group.SamplingFrequency, group.NumberOfWaveformSamples / group.SamplingFrequency,
        )
        for channel in group.ChannelDefinitionSequence
    ]  # fmt: skip
    for number in (0, 1):
        ours = sample.waveform(read.SeriesInstanceUID, group=number)
        assert np.allclose(ours.read(), read.waveform_array(number))
        assert set(ours.units) == {"uV"}
    with pytest.raises(UnknownPart, match="no multiplex group 7; there are: 0, 1"):
        sample.waveform(read.SeriesInstanceUID, group=7)


def test_numbers_of_a_waveform_are_in_a_unit_or_none(tmp_path: Path) -> None:
    """PS3.3 C.10.9: the padding value is no signal; without a sensitivity a unit says nothing."""
    unit = {"ChannelSensitivityUnitsSequence": [code("uV", "UCUM")]}
    channels = [dataset(ChannelSensitivity=2, ChannelBaseline=1, **unit), dataset(**unit)]
    samples = struct.pack("<6h", 5, 6, -32768, 7, 8, -32768)
    for name, described in (("1", channels), ("2", channels[:1])):
        group = dataset(
            NumberOfWaveformChannels=2, NumberOfWaveformSamples=3, WaveformBitsAllocated=16,
            WaveformSampleInterpretation="SS", ChannelDefinitionSequence=described,
            **({"SamplingFrequency": 1000} if name == "1" else {}),
        )  # fmt: skip
        group.add_new(0x5400100A, "OW", struct.pack("<h", -32768))
        group.add_new(0x54001010, "OW", samples)
        write(tmp_path / "in" / name, image(
            f"1.9.{name}", SOPClassUID="1.2.840.10008.5.1.4.1.1.9.1.1", Modality="ECG",
            PixelData=None, WaveformSequence=[group], SeriesInstanceUID=f"1.9.0.{name}",
        ))  # fmt: skip
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(tmp_path / "in", workers=1)
    found = made.waveform("1.9.0.1")
    assert repr(found) == "<Waveform: 2 channels, 3 samples at 1000 Hz>"
    assert "an unknown frequency" in repr(made.waveform("1.9.0.2"))
    assert found.units == ["uV", None]
    wanted = [[11, 6], [math.nan, 7], [17, math.nan]]
    assert np.array_equal(found.read(), wanted, equal_nan=True)
    with pytest.raises(WrongObject, match="more samples than its header states"):
        made.waveform("1.9.0.2").read()


def test_what_is_no_waveform_is_refused(wh: warehouse.Warehouse, tmp_path: Path) -> None:
    with pytest.raises(WrongObject, match="no Waveform Sequence"):
        wh.waveform("1.2.1.1")
    channel = dataset(ChannelSensitivity=1, ChannelSensitivityUnitsSequence=[code("uV", "UCUM")])
    group = dataset(
        NumberOfWaveformSamples=500, SamplingFrequency=1000, WaveformBitsAllocated=16,
        WaveformSampleInterpretation="SS", ChannelDefinitionSequence=[channel], WaveformData=bytes(600),
    )  # fmt: skip
    write(tmp_path / "in" / "a", image(
        "1.9", SOPClassUID="1.2.840.10008.5.1.4.1.1.9.1.1", Modality="ECG", PixelData=None,
        WaveformSequence=[group], SeriesInstanceUID="1.9.0",
    ))  # fmt: skip
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(tmp_path / "in", workers=1)
    with pytest.raises(WrongObject, match="fewer samples than its header states"):
        made.waveform("1.9.0").read()


@pytest.mark.parametrize("meanings", [("Source", "Basis"), ("Basis", "Source")])
def test_of_several_meanings_of_a_purpose_the_first_in_order_is_shown(
    view: View, meanings: tuple[str, str]
) -> None:
    view.given("instances", "instance_id | SOPInstanceUID\n1 | 1.1")
    rows = []
    for place, meaning in enumerate(meanings):
        item_path = f"SourceImageSequence[{place}]"
        of_purpose = f"{item_path}.PurposeOfReferenceCodeSequence[0]"
        rows += [
            f"1 | {item_path}  | 00081155 | 1 | 0 | 1.9",
            f"1 | {of_purpose} | 00080100 | 1 | 0 | 121322",
            f"1 | {of_purpose} | 00080102 | 1 | 0 | DCM",
            f"1 | {of_purpose} | 00080104 | 1 | 0 | {meaning}",
        ]
    view.given("elements", "\n".join(["instance_id | path | tag | vm | index | text", *rows]))
    view.expect(
        "object_references",
        """
        purpose_code | purpose_meaning | reference_count
        DCM:121322   | Basis           | 2
        """,
    )
