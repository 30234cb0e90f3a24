"""Which image belongs to which volume, and what volumes are called: one value of each condition in each."""

from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

import warehouse
from tests.asking import answer_of
from tests.dicom_files import dataset, image, write
from tests.made_once import made_once
from tests.pixels.conftest import UID, answered_once, put_series, voxels, write_slice
from tests.pixels.test_multiframe import (
    ENHANCED_MR,
    IN_STACK,
    TEMPORAL,
    frame,
    ingested,
    write_frames,
    write_mosaic,
)  # fmt: skip
from tests.vendor_payloads import add_private
from warehouse.errors import NotAVolume
from warehouse.pixels import files
from warehouse.sqlfiles import statement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MR = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.4", "Modality": "MR"}
DEPTH = 4


def shuffled(volumes: list[dict[str, Any]], seed: int = 3) -> list[dict[str, Any]]:
    """Return slices of volumes, InstanceNumber in random order.

    Philips may assign them so: https://github.com/rordenlab/dcm2niix/issues/529, 830, 201 and 536.
    """
    numbers = list(range(1, DEPTH * len(volumes) + 1))
    random.Random(seed).shuffle(numbers)
    return [
        {"ImagePositionPatient": [0, 0, 3.0 * z], "InstanceNumber": numbers.pop(), **volume}
        for volume in volumes
        for z in range(DEPTH)
    ]


def of(keyword: str, *values: Any, **others: Any) -> list[dict[str, Any]]:
    return [{keyword: value, **others} for value in values]


X, Y, Z = [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
MAGNITUDE, PHASE = ["ORIGINAL", "PRIMARY", "M_FFE", "M"], ["ORIGINAL", "PRIMARY", "PHASE MAP", "P"]
DIRECTIONS = of("DiffusionGradientOrientation", X, Y, Z, DiffusionBValue=1000.0)
KINDS = {
    "acquisition time": (of("AcquisitionTime", "101000", "101010", "101020", AcquisitionDate="20240102"), {"time_s": [0, 10, 20]}),
    "date-time": (of("AcquisitionDateTime", "20240102101000", "20240102101002.5"), {"time_s": [0, 2.5]}),
    "over midnight": (
        [{"AcquisitionDate": "20240102", "AcquisitionTime": "235959"}, {"AcquisitionDate": "20240103", "AcquisitionTime": "000004"}],
        {"time_s": [0, 5]},
    ),
    # Some scanners state the date of the first image in all.
    "over midnight, with one date": (
        [{"AcquisitionDate": "20240102", "AcquisitionTime": time} for time in ("235958", "235959.5", "000004")],
        {"time_s": [0, 1.5, 6]},
    ),
    "a long day": (of("AcquisitionTime", "010000", "123000", "230000", AcquisitionDate="20240102"), {"time_s": [0, 41400, 79200]}),
    "content over midnight": (of("ContentTime", "235959", "000004", ContentDate="20240102"), {}),
    "over midnight, without a date": (of("AcquisitionTime", "235959", "000004"), {"time_s": [0, 5]}),
    "temporal position": (of("TemporalPositionIdentifier", 1, 2, 3), {"temporal_position": [1, 2, 3]}),
    "trigger time": (of("TriggerTime", 0, 40, 80), {"trigger_time_ms": [0, 40, 80]}),
    "frame reference time": (of("FrameReferenceTime", 500, 1500), {"time_s": [0, 1]}),
    "content time": (of("ContentTime", "101000", "101010"), {}),
    "cardiac phase": (of("NominalPercentageOfCardiacPhase", 10.0, 60.0), {"cardiac_phase_percent": [10, 60]}),
    "respiratory phase": (of("NominalPercentageOfRespiratoryPhase", 0.0, 50.0), {"respiratory_phase_percent": [0, 50]}),
    "b-value": (of("DiffusionBValue", 0.0, 800.0), {"b_value": [0, 800]}),
    "image type": (of("ImageType", MAGNITUDE, PHASE), {"image_type": [MAGNITUDE, PHASE]}),
    "flip angle": (of("FlipAngle", 2, 10, 20), {"flip_angle_degrees": [2, 10, 20]}),
    "inversion time": (of("InversionTime", 100, 400, 1600), {"inversion_time_ms": [100, 400, 1600]}),
    "echo time": (of("EchoTime", 5, 10), {"echo_time_ms": [5, 10]}),
    "echo number": (of("EchoNumbers", 1, 2), {"echo_number": [1, 2]}),
    "part of a complex image": (
        of("ComplexImageComponent", "MAGNITUDE", "PHASE"), {"image_type": [["MAGNITUDE"], ["PHASE"]]},
    ),
    "repetition time": (of("RepetitionTime", 500, 2000), {"repetition_time_ms": [500, 2000]}),
    "tube voltage": (of("KVP", 80, 140), {"tube_voltage_kv": [80, 140]}),
}  # fmt: skip


def one_by_one(n: int) -> dict[str, Any]:
    return {"AcquisitionDate": "20240102", "AcquisitionTime": f"10000{n}"}


# Of one series each; slices are written as `put_series` does.
SERIES: dict[str, list[dict[str, Any]]] = {
    "directions": shuffled(DIRECTIONS),
    "time against numbers": [
        {"ImagePositionPatient": [0, 0, n % 3], "InstanceNumber": 6 - n, **one_by_one(n)}
        for n in range(6)
    ],
    "midnight against numbers": [
        {"InstanceNumber": 3 - n, "AcquisitionDate": "20240102", "AcquisitionTime": time}
        for n, time in enumerate(("235958", "235959", "000001"))
    ],
    "not all times": [
        {"InstanceNumber": 3, **one_by_one(0)},
        {"InstanceNumber": 2},
        {"InstanceNumber": 1, **one_by_one(2)},
    ],
    "two angles at three times": shuffled(
        [{"FlipAngle": angle, **one_by_one(time)} for time in range(3) for angle in (5, 15)]
    ),
    "angles and types in no pairs": [
        {"ImagePositionPatient": [0, 0, 3.0 * (n % 2)], "FlipAngle": angle, "ImageType": kind}
        for n, (angle, kind) in enumerate(
            [(5, MAGNITUDE), (5, PHASE), (15, PHASE), (15, MAGNITUDE)]
        )
    ],
    "times that contradict": [
        {
            "ImagePositionPatient": [0, 0, 3.0 * z], "TemporalPositionIdentifier": position,
            "AcquisitionDate": "20240102", "AcquisitionTime": time,
        }
        for z, position, time in [(0, 1, "10"), (0, 2, "11"), (1, 2, "10"), (1, 1, "11")]
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """The series of ``SERIES``. Not to write to."""

    def make(folder: Path) -> None:
        for name, slices in SERIES.items():
            uid = uid_of(name)
            put_series(folder / "in" / uid, voxels(len(slices)), *slices, uid=uid, **MR)
        warehouse.open(folder / "w", create=True).ingest(folder / "in", mode="full", workers=1)

    return warehouse.open(made_once(tmp_path_factory, "orders of slices", make) / "w")


def uid_of(name: str) -> str:
    return f"1.6.{list(SERIES).index(name)}"


def said_of(wh: warehouse.Warehouse, name: str, column: str) -> Any:
    """Return what the view says of a series."""
    asked = f"select {column} from series_geometry where series_key = $1"
    return wh.catalog.connection.execute(asked, [uid_of(name)]).fetchall()


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> warehouse.Warehouse:
    """A series of each kind. Not to write to."""

    def make(folder: Path) -> None:
        for number, (volumes, _) in enumerate(KINDS.values()):
            uid, slices = f"1.4.{number}", shuffled(volumes)
            for n, pixels in enumerate(voxels(len(slices))):
                write_slice(
                    folder / "in" / f"{uid}.{len(slices) - n}", pixels, uid=f"{uid}.{len(slices) - n}",
                    SeriesInstanceUID=uid, **MR, **slices[n],
                )  # fmt: skip
        warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)

    return warehouse.open(made_once(tmp_path_factory, "kinds of volumes", make) / "w")


@pytest.mark.parametrize("name", KINDS)
def test_volumes_are_told_apart_by_what_differs_not_by_numbers(
    name: str, kinds: warehouse.Warehouse
) -> None:
    volumes, labels = KINDS[name]
    volume = kinds.volume(f"1.4.{list(KINDS).index(name)}")
    assert volume.dims == ("volume", "slice", "row", "column")
    wanted = voxels(DEPTH * len(volumes)).reshape(len(volumes), DEPTH, 4, 6)
    assert np.array_equal(volume[:], wanted)
    assert volume.labels == labels
    assert volume.label_dims == dict.fromkeys(labels, ("volume",))


@pytest.mark.parametrize(
    ("name", "step", "unit"),
    [
        ("acquisition time", 10.0, ("mm", "sec")),
        ("over midnight, with one date", 0.0, ("mm", "unknown")),  # 0, 1.5 and 6 s
        ("date-time", 0.0, ("mm", "unknown")),  # one step
        ("flip angle", 0.0, ("mm", "unknown")),  # no times
    ],
)
def test_nifti_has_the_step_between_volumes_or_zero(
    name: str, step: float, unit: tuple[str, str], kinds: warehouse.Warehouse
) -> None:
    # NIfTI-1: pixdim[4] in the units of xyzt_units. 1, nibabel's default, is a TR of 1 s to FSL.
    header = files.nifti(kinds.volume(f"1.4.{list(KINDS).index(name)}")).header
    assert (float(header["pixdim"][4]), header.get_xyzt_units()) == (step, unit)


def test_a_gallery_has_every_series_that_is_given_and_says_how_many_it_leaves_out(
    kinds: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.pixels.gallery.SERIES", 1)
    uids = ["1.4.0", "1.4.1", "1.4.2"]
    assert sorted(row[0] for row in kinds.gallery(*uids).rows) == uids
    first = kinds.gallery()
    assert repr(first).startswith(f"<Gallery of 1 of {len(KINDS)} series")
    assert f"1 of {len(KINDS)} series" in first._repr_html_()
    assert len(kinds.gallery(*uids, limit=2).rows) == 2


def test_directions_of_one_b_value_are_volumes_of_their_own(made: warehouse.Warehouse) -> None:
    volume = made.volume(uid_of("directions"))
    # Numbers are no order here: the directions are sorted.
    assert volume.labels == {"direction": [Z, Y, X]}
    assert np.array_equal(volume[:], voxels(3 * DEPTH).reshape(3, DEPTH, 4, 6)[::-1])
    said = said_of(made, "directions", "volumes_differ_in, is_volume_stack")
    assert said == [(["diffusion"], True)]


def test_private_b_values_tell_volumes_apart(tmp_path: Path) -> None:
    """Philips: b-value in (2001,xx03), as in diffusion_frames."""
    pixels = voxels(2 * DEPTH)
    for number, own in enumerate(shuffled([{}, {}])):
        path = write_slice(tmp_path / "in" / f"{number}.dcm", pixels[number], **MR, **own)
        made = pydicom.dcmread(path)
        add_private(
            made, "Philips Imaging DD 001", 0x2001, 0x10, x03=("FL", [0.0, 1000.0][number // DEPTH])
        )
        write(path, made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    volume = wh.volume(UID)
    assert volume.labels == {"b_value": [0, 1000]}
    assert np.array_equal(volume[:], pixels.reshape(2, DEPTH, 4, 6))


def test_a_private_direction_beside_a_standard_b_value_tells_volumes_apart(tmp_path: Path) -> None:
    """UIH: (0018,9087) and (0065,xx37); one slice was stored in another order."""
    order = [[0, 1, 2, 3]] * DEPTH
    order[1] = [0, 2, 1, 3]
    directions = [None, X, Y, Z]
    for z in range(DEPTH):
        for n, volume in enumerate(order[z]):
            number = z * DEPTH + n
            path = write_slice(
                tmp_path / "in" / f"{number}.dcm", np.full((4, 6), volume, np.int16), **MR,
                Manufacturer="UIH", ImagePositionPatient=[0, 0, 3.0 * z], InstanceNumber=number,
                DiffusionBValue=1000.0 if volume else 0.0,
            )  # fmt: skip
            if volume:
                made = pydicom.dcmread(path)
                add_private(
                    made, "Image Private Header", 0x65, 0x10, x37=("FD", directions[volume])
                )
                write(path, made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    volume = wh.volume(UID)
    assert volume.labels == {"b_value": [0, 1000, 1000, 1000], "direction": [None, Z, Y, X]}
    assert volume[:, :, 0, 0].tolist() == [[n] * DEPTH for n in (0, 3, 2, 1)]
    assert np.allclose(wh.gradients(UID).directions, [[0, 0, 0], Z, Y, X])


def test_ge_says_in_a_private_element_which_part_an_image_is(tmp_path: Path) -> None:
    """(0043,xx2F): 0 magnitude, 1 phase, 2 real, 3 imaginary; dcm2niix writes a file for each."""
    pixels = voxels(4 * DEPTH)
    for number, own in enumerate(shuffled([{}, {}, {}, {}])):
        path = write_slice(tmp_path / "in" / f"{number}.dcm", pixels[number], **MR, **own)
        made = pydicom.dcmread(path)
        made.Manufacturer, made.ImageType = "GE MEDICAL SYSTEMS", ["ORIGINAL", "PRIMARY", "OTHER"]
        # A creator may reserve any block, another one in each image (PS3.5 7.8.1).
        add_private(made, "GEMS_PARM_01", 0x43, 0x10 + number % 3, x2F=("SS", number // DEPTH))
        write(path, made)
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(tmp_path / "in", mode="full", workers=1)
    volume = wh.volume(UID)
    parts = [kind[-1] for kind in volume.labels["image_type"]]
    assert parts == ["IMAGINARY", "MAGNITUDE", "PHASE", "REAL"]  # sorted: numbers are no order
    order = [["MAGNITUDE", "PHASE", "REAL", "IMAGINARY"].index(part) for part in parts]
    assert np.array_equal(volume[:], pixels.reshape(4, DEPTH, 4, 6)[order])
    said = answer_of(wh, "select volumes_differ_in, is_volume_stack from series_geometry")
    assert said == [(["image type"], True)]
    assert answer_of(wh, "select image_part from sequence_facts") == [("MIXED",)]


def test_time_orders_what_numbers_order_otherwise(made: warehouse.Warehouse) -> None:
    """The order is that of acquisition; InstanceNumber comes last."""
    pixels, uid = voxels(6), uid_of("time against numbers")
    volume = made.volume(uid)
    assert np.array_equal(volume[:], pixels.reshape(2, 3, 4, 6))
    # Slices are acquired one after another: a volume begins with its first.
    assert volume.labels == {"time_s": [0, 3]}
    assert np.array_equal(made.stack(uid)[:], pixels)


def test_a_stack_continues_after_midnight_on_the_date_of_its_first_image(
    made: warehouse.Warehouse,
) -> None:
    assert np.array_equal(made.stack(uid_of("midnight against numbers"))[:], voxels(3))


def test_a_stack_without_all_times_comes_by_number(made: warehouse.Warehouse) -> None:
    assert np.array_equal(made.stack(uid_of("not all times"))[:], voxels(3)[::-1])


def test_repeats_within_a_condition_are_told_apart_by_time(made: warehouse.Warehouse) -> None:
    """Two flip angles at three times; a time is that of both angles, and numbers say nothing."""
    volume = made.volume(uid_of("two angles at three times"))
    assert np.array_equal(volume[:], voxels(DEPTH * 6).reshape(6, DEPTH, 4, 6))
    assert volume.labels == {
        "time_s": [0, 0, 1, 1, 2, 2], "flip_angle_degrees": [5, 15, 5, 15, 5, 15]
    }  # fmt: skip


def test_volumes_that_cannot_have_one_value_of_each_are_refused(made: warehouse.Warehouse) -> None:
    """Every position has both angles and both types, but not in the same pairs."""
    name = "angles and types in no pairs"
    with pytest.raises(NotAVolume, match="not everywhere with the same flip angle, image type"):
        made.volume(uid_of(name))
    assert said_of(made, name, "is_volume_stack") == [(False,)]


def test_times_that_contradict_each_other_are_refused(made: warehouse.Warehouse) -> None:
    """At one position the second time has the first temporal position."""
    with pytest.raises(NotAVolume, match="no common order of temporal_position, time_s"):
        made.volume(uid_of("times that contradict"))


def test_mosaics_follow_each_other_in_time(tmp_path: Path, ingest: Any) -> None:
    for number in range(3):
        write_mosaic(
            tmp_path / "in" / f"{number}.dcm", np.full((4, 2, 3), number, np.uint16), [0, 0, 1],
            uid=f"1.{number}", InstanceNumber=9 - number, AcquisitionDate="20240102",
            AcquisitionTime=f"10000{2 * number}",
        )  # fmt: skip
    volume = ingested(ingest).volume(UID)
    assert volume[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert volume.labels == {"time_s": [0, 2, 4]}


# -- frames -----------------------------------------------------------------------------------------


def with_groups(made: Any, **groups: Any) -> Any:
    for name, group in groups.items():
        setattr(made, name, [group])
    return made


GROUPS: list[tuple[str, str, list[float], str]] = [
    ("MREchoSequence", "EffectiveEchoTime", [5, 10], "echo_time_ms"),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle", [2, 20], "flip_angle_degrees"),
    ("MRModifierSequence", "InversionTimes", [100, 900], "inversion_time_ms"),
    ("MRDiffusionSequence", "DiffusionBValue", [0, 1000], "b_value"),
    ("CardiacSynchronizationSequence", "NominalCardiacTriggerDelayTime", [0, 40], "trigger_time_ms"),
    ("CardiacSynchronizationSequence", "NominalPercentageOfCardiacPhase", [0, 50], "cardiac_phase_percent"),
    ("RespiratorySynchronizationSequence", "NominalPercentageOfRespiratoryPhase", [0, 50], "respiratory_phase_percent"),
    ("TemporalPositionSequence", "TemporalPositionTimeOffset", [0, 2], "time_s"),
]  # fmt: skip


@pytest.fixture(scope="module")
def groups(tmp_path_factory: pytest.TempPathFactory) -> Iterator[warehouse.Warehouse]:
    """A series for each group. Not to write to."""

    def make(folder: Path) -> None:
        order = [3, 1, 0, 4, 5, 2]  # the second volume comes first at some positions
        for number, (group, keyword, values, _) in enumerate(GROUPS):
            frames = [
                with_groups(
                    frame([0, 0, 2.0 * (n % 3)]), **{group: dataset(**{keyword: values[n // 3]})}
                )
                for n in order
            ]
            path = folder / "in" / f"{number}.dcm"
            write_frames(path, voxels(6)[order], frames, SeriesInstanceUID=f"1.4.{number}")
        echo = dataset(EffectiveEchoTime=math.nan)
        triggers = [dataset(NominalCardiacTriggerDelayTime=delay) for delay in (math.inf, math.nan)]
        frames = [
            with_groups(
                frame([0, 0, 2.0 * (n % 3)]),
                MREchoSequence=echo, CardiacSynchronizationSequence=triggers[n // 3],
            )
            for n in range(6)
        ]  # fmt: skip
        write_frames(folder / "in" / "99.dcm", voxels(6), frames, SeriesInstanceUID="1.4.99")
        warehouse.open(folder / "w", create=True).ingest(folder / "in", workers=1)

    wh = warehouse.open(made_once(tmp_path_factory, "functional groups", make) / "w")
    with answered_once(wh, "diffusion_frames"), answered_once(wh, "frames"):
        yield wh


@pytest.mark.parametrize("number", range(len(GROUPS)))
def test_functional_groups_tell_frames_apart_without_dimension_indices(
    number: int, groups: warehouse.Warehouse
) -> None:
    volume = groups.volume(f"1.4.{number}")
    assert volume.dims == ("volume", "slice", "row", "column")
    assert np.array_equal(volume[:], voxels(6).reshape(2, 3, 4, 6))
    _, _, values, label = GROUPS[number]
    assert volume.labels == {label: values}


def test_a_time_that_is_no_number_orders_nothing(groups: warehouse.Warehouse) -> None:
    """NaN and infinity, which VR FD can hold, are as if missing: frame numbers count."""
    volume = groups.volume("1.4.99")
    assert np.array_equal(volume[:], voxels(6).reshape(2, 3, 4, 6))
    assert volume.labels == {}


def test_axes_have_the_values_that_indices_stand_for(tmp_path: Path, ingest: Any) -> None:
    b_value, echo = 0x00189087, 0x00189082
    frames = [
        with_groups(
            frame([0, 0, 2.0 * z], z + 1, b + 1, e + 1),
            MRDiffusionSequence=dataset(DiffusionBValue=[0, 700][b]),
            MREchoSequence=dataset(EffectiveEchoTime=[30, 60][e]),
        )
        for b in range(2) for e in range(2) for z in range(3)
    ]  # fmt: skip
    write_frames(tmp_path / "in" / "1.dcm", voxels(12), frames, [IN_STACK, b_value, echo])
    volume = ingested(ingest).volume(UID)
    assert volume.dims[:2] == ("DiffusionBValue", "EffectiveEchoTime")
    assert volume.labels == {
        "DiffusionBValue": [0, 700], "b_value": [0, 700],
        "EffectiveEchoTime": [30, 60], "echo_time_ms": [30, 60],
    }  # fmt: skip
    assert volume.label_dims["echo_time_ms"] == ("EffectiveEchoTime",)


def test_indices_that_mix_conditions_are_not_believed(tmp_path: Path, ingest: Any) -> None:
    """The index of time runs against the echo at one position: the groups decide."""
    echoes, indices = [5, 5, 10, 10], [1, 2, 2, 1]
    frames = [
        with_groups(frame([0, 0, 2.0 * (n % 2)], n % 2 + 1, index),
                    MREchoSequence=dataset(EffectiveEchoTime=echo))
        for n, (echo, index) in enumerate(zip(echoes, indices, strict=True))
    ]  # fmt: skip
    write_frames(tmp_path / "in" / "1.dcm", voxels(4), frames, [IN_STACK, TEMPORAL])
    volume = ingested(ingest).volume(UID)
    assert volume.labels == {"echo_time_ms": [5, 10]}
    assert np.array_equal(volume[:], voxels(4).reshape(2, 2, 4, 6))


def test_objects_of_a_series_follow_each_other_in_time(tmp_path: Path, ingest: Any) -> None:
    """As Siemens writes functional MRI: a volume per object."""
    for number in range(3):
        frames = [frame([0, 0, 2.0 * z], z + 1) for z in range(2)]
        for made in frames:
            made.FrameContentSequence[0].FrameAcquisitionDateTime = f"2024010210000{number}"
        write_frames(
            tmp_path / "in" / f"{number}.dcm", voxels(2) + number, frames, [IN_STACK],
            InstanceNumber=7 - number, SOPClassUID=ENHANCED_MR,
        )  # fmt: skip
    volume = ingested(ingest).volume(UID)
    assert volume.dims[0] == "instance"
    assert (volume[:, 0, 0, 0] - voxels(1)[0, 0, 0]).tolist() == [0, 1, 2]
    assert volume.labels["time_s"] == [0, 1, 2]


@pytest.mark.long("test_every_statement_of_a_weighting_is_looked_for")
def test_weightings_are_asked_for_wherever_there_are_any(sample: warehouse.Warehouse) -> None:
    """What is asked before, in place of the large question, is false only where that has no answer."""
    connection = sample.catalog.connection
    weighted = connection.execute(
        "select distinct series_key from diffusion_frames where b_value is not null "
        "or diffusion_gradient_direction is not null or gradient_axes_direction is not null"
    ).fetchall()
    may_be = {
        key: connection.execute(statement("may_be_weighted", "pixels"), [key]).fetchall()[0][0]
        for (key,) in connection.execute("select series_key from series").fetchall()
    }
    assert weighted
    assert all(may_be[key] for (key,) in weighted)
    assert not all(may_be.values())


def test_every_statement_of_a_weighting_is_looked_for(
    tmp_path: Path, ingest: Callable[..., object]
) -> None:
    """One series each, and a last one that states nothing."""
    plain: list[dict[str, Any]] = [
        {"DiffusionBValue": 700.0},
        {"DiffusionGradientOrientation": X},
        {"ImageComments": "b=1500(0.6,0.64,0.48)"},
    ]
    private = [
        ("SIEMENS MR HEADER", 0x19, {"x0C": ("IS", 700)}),
        ("Philips Imaging DD 001", 0x2001, {"x03": ("FL", 700.0)}),
        ("GEMS_PARM_01", 0x43, {"x39": ("IS", [700, 8, 0, 0])}),
        ("Image Private Header", 0x65, {"x09": ("FD", 700.0)}),
    ]
    count = len(plain) + len(private)
    for number in range(count + 1):
        more = plain[number] if number < len(plain) else {}
        made = image(f"1.1.{number}", SeriesInstanceUID=f"1.3.{number}", **MR, **more)
        if len(plain) <= number < count:
            creator, group, values = private[number - len(plain)]
            add_private(made, creator, group, 0x10, **values)
        write(tmp_path / "in" / f"{number}.dcm", made)
    ingest(mode="full")
    asked = ingest.warehouse.catalog.connection  # type: ignore[attr-defined]
    ask = statement("may_be_weighted", "pixels")
    found = [asked.execute(ask, [f"1.3.{number}"]).fetchall()[0][0] for number in range(count + 1)]
    assert found == [True] * count + [False]
