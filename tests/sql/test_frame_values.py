"""What the frames of an object say together, and that all who ask are told the same.

Oracle: pydicom, walking the functional groups of each frame by itself.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pydicom.dataset import Dataset

import warehouse
from tests.asking import answer_of
from tests.conftest import packaged_files
from tests.dicom_files import dataset, image, write
from tests.flat import planned_once
from warehouse.catalog.materialized import materialize
from warehouse.sqlfiles import by_name

if TYPE_CHECKING:
    import duckdb

    from tests.small_tables import View

TAGS = {
    "EchoTime": ("EffectiveEchoTime", "EchoTime"),
    "InversionTime": ("InversionTimes", "InversionTime"),
    "XRayTubeCurrentInmA": ("XRayTubeCurrentInmA", "XRayTubeCurrent"),
    "ExposureInmAs": ("ExposureInmAs", "Exposure"),
}
"""Column → keywords that state it, in the order in which they count; else that of its name."""
LISTS = {
    "echo_times_ms": "EchoTime", "inversion_times_ms": "InversionTime",
    "repetition_times_ms": "RepetitionTime", "flip_angles_degrees": "FlipAngle",
    "b_values": "DiffusionBValue", "tube_voltages_kv": "KVP",
    "tube_currents_ma": "XRayTubeCurrentInmA", "exposures_mas": "ExposureInmAs",
}  # fmt: skip
COLUMNS = [
    column for column in by_name("frame_values").columns
    if column.name[0].isupper() and column.name != "ContrastBolusAgent"
]  # fmt: skip


# -- drawn ----------------------------------------------------------------------------------------


def test_the_first_frame_that_has_a_value_decides(view: View) -> None:
    """1 shared, 2 by frame, 3 the groups of some frames over the object, 4 none of the attributes, 5 contradicting."""
    view.given(
        "instances",
        """
        instance_id | NumberOfFrames | pixel_length | EchoTime | FlipAngle | PixelSpacing
        1           | 3              | 100          |          |           |
        2           | 3              | 100          |          |           |
        3           | 3              | 100          | 7        | 90        | [1, 1]
        4           | 3              | 100          | 7        |           |
        5           | 2              | 100          | 7        | 90        |
        6           | 3              | 100          | 8        |           |
    """,
    )
    view.given(
        "elements",
        """
        instance_id | path | tag      | integer
        1           | ''   | 52009230 | 3
        2           | ''   | 52009230 | 3
        3           | ''   | 52009230 | 3
        4           | ''   | 52009230 | 3
        5           | ''   | 52009230 | 2
    """,
    )
    view.given(
        "group_elements",
        """
        instance_id | item | sequence              | sequence_item | tag      | index | real | text
        1           |      | MREchoSequence        | 0             | 00189082 | 0     | 30   |
        1           |      | PixelMeasuresSequence | 0             | 00280030 | 1     | 0.2  |
        1           |      | PixelMeasuresSequence | 0             | 00280030 | 0     | 0.1  |
        2           | 2    | MREchoSequence        | 0             | 00189082 | 0     | 10   |
        2           | 0    | MREchoSequence        | 0             | 00189082 | 0     | 30   |
        2           | 1    | MREchoSequence        | 0             | 00189082 | 0     | 10   |
        3           | 1    | MREchoSequence        | 0             | 00189082 | 0     | 30   |
        3           | 1    | PixelMeasuresSequence | 0             | 00280030 | 0     |      |
        4           | 0    | FrameContentSequence  | 0             | 00209056 | 0     |      | S
        5           |      | MREchoSequence        | 0             | 00189082 | 0     | 30   |
        5           |      | XSequence             | 0             | 00180081 | 0     | 99   |
        5           | 0    | MREchoSequence        | 0             | 00189082 | 0     | 20   |
    """,
    )
    view.expect(
        "frame_values",
        """
        instance_id | EchoTime | echo_times_ms | FlipAngle | PixelSpacing | functional_groups        | frames_differ
        1           | 30       | [30]          |           | [0.1, 0.2]   | [EchoTime, PixelSpacing] | []
        2           | 30       | [10, 30]      |           |              | [EchoTime]               | [EchoTime]
        3           | 7        | [7, 30]       | 90        | [1, 1]       | []                       | [EchoTime]
        5           | 20       | [20, 30]      | 90        |              | [EchoTime]               | [EchoTime]
    """,
    )


# -- files ----------------------------------------------------------------------------------------

PLACE = {"PlaneOrientationSequence": [dataset(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])]}
MEASURES = {"PixelMeasuresSequence": [dataset(PixelSpacing=[0.5, 0.6], SliceThickness=2.5)]}


def made() -> dict[str, Dataset]:
    """Return one object of each kind, four frames each."""
    echo = [[dataset(EffectiveEchoTime=t)] for t in (5.0, 5.0, 25.0, 25.0)]
    timing = [dataset(RepetitionTime=900.0, FlipAngle=15.0, EchoTrainLength=3)]
    mr = _object(
        "1.4.1", "1.2.840.10008.5.1.4.1.1.4.1", "MR",
        dataset(MRTimingAndRelatedParametersSequence=timing, **PLACE, **MEASURES),
        [dataset(
            MREchoSequence=echo[n], MRDiffusionSequence=[dataset(DiffusionBValue=500.0 * (n % 2))],
            MRModifierSequence=[dataset(InversionTimes=[100.0, 200.0], ParallelReductionFactorInPlane=2.0)],
            FrameContentSequence=[dataset(FrameAcquisitionDateTime=f"2024010203040{n}.5", TemporalPositionIndex=n + 1)],
            PlanePositionSequence=[dataset(ImagePositionPatient=[0, -1, 2.5 * n])],
        ) for n in range(4)],
    )  # fmt: skip
    ct = _object(
        "1.4.2", "1.2.840.10008.5.1.4.1.1.2.1", "CT",
        dataset(
            CTReconstructionSequence=[dataset(ConvolutionKernel=["B30f", "X"], ReconstructionDiameter=300.0)],
            # Two tubes.
            CTXRayDetailsSequence=[dataset(KVP=100.0, FilterType="WEDGE"), dataset(KVP=140.0)],
            **MEASURES,
        ),
        [dataset(CTExposureSequence=[dataset(XRayTubeCurrentInmA=100.5 + n, ExposureInmAs=7.25)]) for n in range(4)],
    )  # fmt: skip
    ct.ContrastBolusAgentSequence = [dataset(CodeMeaning="Iodine")]
    pet = _object(
        "1.4.3", "1.2.840.10008.5.1.4.1.1.130", "PT", dataset(**MEASURES, **PLACE),
        [dataset(FrameContentSequence=[dataset(FrameAcquisitionDateTime="20240102030405")]) for _ in range(4)],
    )  # fmt: skip
    xa = _object(
        "1.4.4", "1.2.840.10008.5.1.4.1.1.12.1.1", "XA",
        dataset(FrameAcquisitionSequence=[dataset(KVP=70.0, XRayTubeCurrentInmA=5.5)]), [Dataset() for _ in range(4)],
    )  # fmt: skip
    # As pydicom reads a converted object: attributes of the classic images, unassigned.
    legacy = _object(
        "1.4.5", "1.2.840.10008.5.1.4.1.1.4.4", "MR",
        dataset(
            UnassignedSharedConvertedAttributesSequence=[
                dataset(EchoTime=12.0, RepetitionTime=400.0, InversionTime=150.0, ScanningSequence=["GR", "IR"])
            ], **MEASURES,
        ),
        [dataset(UnassignedPerFrameConvertedAttributesSequence=[dataset(FlipAngle=10.0 + n)]) for n in range(4)],
    )  # fmt: skip
    # The object says one thing, its groups another.
    contradicting = _object(
        "1.4.6", "1.2.840.10008.5.1.4.1.1.4.1", "MR",
        dataset(MREchoSequence=[dataset(EffectiveEchoTime=30.0)]),
        [Dataset(), dataset(MREchoSequence=[dataset(EffectiveEchoTime=40.0)]), Dataset(), Dataset()],
        EchoTime=99.0, SliceThickness=3.0, NumberOfAverages=2.0,
    )  # fmt: skip
    empty = _object(
        "1.4.7", "1.2.840.10008.5.1.4.1.1.4.1", "MR", dataset(MREchoSequence=[], PixelMeasuresSequence=[Dataset()]),
        [dataset(MREchoSequence=[Dataset()]) for _ in range(4)], FlipAngle=8.0,
    )  # fmt: skip
    return {data.SOPInstanceUID: data for data in (mr, ct, pet, xa, legacy, contradicting, empty)}


def _object(
    uid: str, kind: str, modality: str, shared: Dataset, own: list[Dataset], **more: Any
) -> Dataset:
    return image(
        uid, SOPClassUID=kind, Modality=modality, SeriesInstanceUID=f"{uid}.0", NumberOfFrames=len(own),
        PixelData=bytes(16), SharedFunctionalGroupsSequence=[shared], PerFrameFunctionalGroupsSequence=own, **more,
    )  # fmt: skip


def enhanced_files() -> Iterator[Path]:
    for path in packaged_files():
        try:
            data = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, OSError, ValueError, AttributeError):
            continue
        if "PerFrameFunctionalGroupsSequence" in data and "SOPInstanceUID" in data:
            yield path


@pytest.fixture(
    scope="module",
    params=[
        "made",
        pytest.param(
            "packages", marks=pytest.mark.long("test_every_object_says_what_pydicom_finds")
        ),
    ],
)
def root(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """The objects made above, or these and those that come with packages and $DICOM_CORPUS."""
    folder = tmp_path_factory.mktemp("groups")
    for uid, data in made().items():
        write(folder / "in" / uid, data)
    more = enhanced_files() if request.param == "packages" else ()
    warehouse.open(folder / "w", create=True).ingest(folder / "in", *more, workers=1)
    return folder / "w"


@pytest.fixture(scope="module")
def wh(root: Path) -> warehouse.Warehouse:
    return warehouse.open(root)


@pytest.fixture(scope="module")
def asked(wh: warehouse.Warehouse) -> duckdb.DuckDBPyConnection:
    return planned_once(
        wh, "frame_values", "frames", "series", "mr_series", "ct_series", "pt_series"
    )


@pytest.fixture(scope="module")
def rows(asked: duckdb.DuckDBPyConnection) -> dict[str, dict[str, Any]]:
    question = "select instance_key, file_path, frame_values.* from frame_values join instances using (instance_id)"
    return {row["instance_key"]: row for row in asked.sql(question).pl().to_dicts()}


def stated(data: Dataset, frame: int, column: str) -> tuple[Any, bool, list[Any]]:
    """Return a value of a frame, whether a group states it, and all that its items state."""
    own = data.PerFrameFunctionalGroupsSequence
    shared = data.get("SharedFunctionalGroupsSequence") or [Dataset()]
    for place in (own[frame], shared[0]):
        for keyword in TAGS.get(column, (column,)):
            found = [
                value
                for element in place
                if element.VR == "SQ" and not element.tag.is_private
                for item in element.value
                if (value := _value(item, keyword, column)) is not None
            ]
            if found:
                return found[0], True, found
    alone = _value(data, TAGS.get(column, (column,))[-1], column)
    return alone, False, [] if alone is None else [alone]


def _value(data: Dataset, keyword: str, column: str) -> Any:
    if keyword not in data or data[keyword].is_empty:
        return None
    value = data[keyword].value
    values = list(value) if isinstance(value, pydicom.multival.MultiValue | list) else [value]
    texts = next(c.type for c in by_name("frame_values").columns if c.name == column).startswith(
        "VARCHAR"
    )
    try:
        read = [str(v) if texts else float(v) for v in values]
    except ValueError:
        return None
    return tuple(read)


@cache
def expected(path: str) -> dict[str, Any]:
    """Return a row of `frame_values` as pydicom has it."""
    data = pydicom.dcmread(path, stop_before_pixels=True)
    count = len(data.PerFrameFunctionalGroupsSequence)
    row: dict[str, Any] = {"functional_groups": [], "frames_differ": []}
    for column in COLUMNS:
        said = [stated(data, frame, column.name) for frame in range(count)]
        first = next((one for one in said if one[0] is not None), (None, False, []))
        row[column.name] = first[0]
        if first[1]:
            row["functional_groups"].append(column.name)
        if len({value for one in said for value in one[2]}) > 1:
            row["frames_differ"].append(column.name)
        for listed, attribute in LISTS.items():
            if attribute == column.name:
                row[listed] = sorted({v for one in said for value in one[2] for v in value}) or None
    return row


def test_every_object_says_what_pydicom_finds(
    rows: dict[str, dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    # Of the last one that is made above nothing is stated that is not empty.
    assert set(rows) >= set(list(made())[:-1])
    # Most are those of $DICOM_CORPUS.
    if "packages" in request.node.name and os.environ.get("DICOM_CORPUS"):
        assert len(rows) >= 20
    for row in rows.values():
        wanted = expected(row["file_path"])
        got = dict(row)
        for column in COLUMNS:
            if got[column.name] is not None:
                value = got[column.name]
                got[column.name] = tuple(value) if column.type.endswith("[]") else (value,)
                wanted[column.name] = (
                    wanted[column.name] and wanted[column.name][: len(got[column.name])]
                )
        for name in ("functional_groups", "frames_differ"):
            got[name] = [attribute for attribute in got[name] if attribute != "ContrastBolusAgent"]
            wanted[name] = sorted(wanted[name])
        assert {name: got[name] for name in wanted} == wanted, row["file_path"]


def test_frames_say_the_same(
    asked: duckdb.DuckDBPyConnection, rows: dict[str, dict[str, Any]]
) -> None:
    """The first frame with a value has that value, and the list is that of the frames."""
    question = "select instance_key, frames.* from frames join instances using (instance_id) order by frame_number"
    frames = asked.sql(question).pl().to_dicts()
    both = {column.name for column in COLUMNS} & set(frames[0])
    assert both >= {
        "EchoTime",
        "RepetitionTime",
        "FlipAngle",
        "SliceThickness",
        "PixelSpacing",
        "DiffusionBValue",
    }
    for uid, row in rows.items():
        mine = [frame for frame in frames if frame["instance_key"] == uid]
        for name in both:
            values = [frame[name] for frame in mine if frame[name] is not None]
            assert row[name] == (values[0] if values else None), (uid, name)
        for listed, name in LISTS.items():
            if name in both:
                assert row[listed] == (sorted({f[name] for f in mine} - {None}) or None), (
                    uid,
                    name,
                )


def test_entities_say_the_same(
    asked: duckdb.DuckDBPyConnection, rows: dict[str, dict[str, Any]]
) -> None:
    """Each of these series has one object, or copies that agree."""
    told = {
        view: asked.sql(f"from {view}").pl().to_dicts()
        for view in ("series", "mr_series", "ct_series", "pt_series")
    }
    uids = dict(asked.execute("select instance_key, series_key from instances").fetchall())
    seen = set()
    for uid, row in rows.items():
        for view, entities in told.items():
            for entity in entities:
                if entity["series_key"] == uids[uid] and entity["instance_count"] == 1:
                    shared = set(row) & set(entity) - {"file_path", "not_read"}
                    assert {n: entity[n] for n in shared} == {n: row[n] for n in shared}, (
                        view,
                        uid,
                    )
                    seen.add(view)
    assert seen == set(told)


def test_what_each_kind_of_object_says(asked: duckdb.DuckDBPyConnection) -> None:
    """Values as they were written above."""

    def one(question: str) -> tuple[Any, ...]:
        (row,) = asked.execute(question).fetchall()
        return row

    assert one(
        "select EchoTime, echo_times_ms, RepetitionTime, FlipAngle, EchoTrainLength, InversionTime, "
        "inversion_times_ms, b_values, PixelSpacing, ParallelReductionFactorInPlane, temporal_position_count, "
        "frames_differ from mr_series where series_key = '1.4.1.0'"
    ) == (
        5, [5, 25], 900, 15, 3, 100, [100, 200], [0, 500], [0.5, 0.6], 2, 4, ["DiffusionBValue", "EchoTime"],
    )  # fmt: skip
    assert one(
        "select KVP, tube_voltages_kv, ConvolutionKernel, tube_current_min_ma, tube_current_max_ma, "
        "exposure_max_mas, FilterType, ReconstructionDiameter, ContrastBolusAgent from ct_series "
        "where series_key = '1.4.2.0'"
    ) == (100, [100, 140], ["B30f", "X"], 100.5, 103.5, 7.25, "WEDGE", 300, "Iodine")
    assert (
        str(one("select scan_started_at from pt_series where series_key = '1.4.3.0'")[0])
        == "2024-01-02 03:04:05"
    )
    assert one("select KVP from series where series_key = '1.4.4.0'") == (70,)
    assert one(
        "select EchoTime, RepetitionTime, InversionTime, ScanningSequence, flip_angles_degrees from mr_series "
        "where series_key = '1.4.5.0'"
    ) == (12, 400, 150, ["GR", "IR"], [10, 11, 12, 13])
    assert one(
        "select EchoTime, echo_times_ms, SliceThickness, NumberOfAverages, functional_groups from mr_series "
        "where series_key = '1.4.6.0'"
    ) == (30, [30, 40], 3, 2, ["EchoTime"])
    assert one("select EchoTime, FlipAngle, functional_groups from mr_series where series_key = '1.4.7.0'")[:2] == (
        None, 8,
    )  # fmt: skip
    assert one(
        "select position_min_mm, position_max_mm, cast(first_frame_at as varchar), cast(last_frame_at as varchar) "
        "from frame_values join instances using (instance_id) where instance_key = '1.4.1'"
    ) == ([0, -1, 0], [0, -1, 7.5], "2024-01-02 03:04:00.5", "2024-01-02 03:04:03.5")


def test_filters_find_what_stands_in_groups(wh: warehouse.Warehouse) -> None:
    def keys(table: str, **conditions: Any) -> set[Any]:
        return set(
            wh.select(table, columns=["SeriesInstanceUID"], **conditions).pl()["SeriesInstanceUID"]
        )

    found = keys("series", Modality="MR", EchoTime__max=30)
    assert found >= {"1.4.1.0", "1.4.5.0", "1.4.6.0"}
    assert "1.4.7.0" not in found
    # As a column of the entity, of its instances, and of no table of classic images.
    assert found == keys("instances", Modality="MR", EchoTime__max=30)
    assert keys("series", DiffusionBValue=0.0) >= {"1.4.1.0"}
    assert keys("series", XRayTubeCurrentInmA__min=100) == {"1.4.2.0"}
    assert keys("series", KVP=70.0) == {"1.4.4.0"}


def test_kept_answers_of_one_batch_are_those_of_the_view(
    root: Path, asked: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    computed = asked.execute("from frame_values order by all").fetchall()
    copy = shutil.copytree(root, tmp_path / "w")
    materialize(copy)
    kept = warehouse.open(copy)
    assert "GROUP BY" not in answer_of(kept, "explain from frame_values")[0][1].upper()
    assert answer_of(kept, "from frame_values order by all") == computed


@pytest.mark.long("test_kept_answers_of_one_batch_are_those_of_the_view")
def test_kept_answers_are_those_of_the_view(
    root: Path, asked: duckdb.DuckDBPyConnection, tmp_path: Path
) -> None:
    computed = asked.execute("from frame_values order by all").fetchall()
    copy = tmp_path / "w"
    shutil.copytree(root, copy)
    materialize(copy)
    # A later batch is brought into what was kept.
    more = made()["1.4.1"]
    more.SOPInstanceUID = "1.4.0"
    # It is the first of its series, which therefore says what its frames say.
    (shared,) = more.SharedFunctionalGroupsSequence
    (timing,) = shared.MRTimingAndRelatedParametersSequence
    timing.RepetitionTime = 950.0
    later = warehouse.open(copy)
    later.ingest(write(tmp_path / "more", more), workers=1)
    materialize(copy)
    kept = warehouse.open(copy)
    assert "GROUP BY" not in answer_of(kept, "explain from series")[0][1].upper()
    added = answer_of(kept, "from frame_values order by all")
    assert len(added) == len(computed) + 1
    assert [row for row in added if row in computed] == computed
    question = "select RepetitionTime from series where series_key = '1.4.1.0'"
    assert answer_of(kept, question) == [(950.0,)]
    taken_over = added, answer_of(kept, "from series order by all")
    shutil.rmtree(copy / "_cache")
    again = warehouse.open(copy)
    assert taken_over == tuple(
        answer_of(again, f"from {view} order by all") for view in ("frame_values", "series")
    )


# -- dcm2niix -------------------------------------------------------------------------------------


IN_CORPUS = "small_series/philips_enhanced/fmri/001_implicit/IM-0001-9600-0001.dcm"


@pytest.mark.skipif("DICOM_CORPUS" not in os.environ, reason="DICOM_CORPUS names no folder")
def test_times_of_one_object_are_those_of_dcm2niix(tmp_path: Path) -> None:
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(Path(os.environ["DICOM_CORPUS"]) / IN_CORPUS, workers=1)
    assert compared_with_dcm2niix(made.catalog.session(), tmp_path) >= 1


@pytest.mark.skipif("DICOM_CORPUS" not in os.environ, reason="DICOM_CORPUS names no folder")
@pytest.mark.long("test_times_of_one_object_are_those_of_dcm2niix")
@pytest.mark.parametrize("root", ["packages"], indirect=True)
def test_times_are_those_of_dcm2niix(asked: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    """Its sidecars are in seconds, and a field that it does not write is not compared."""
    assert compared_with_dcm2niix(asked, tmp_path) >= 3


def compared_with_dcm2niix(asked: duckdb.DuckDBPyConnection, tmp_path: Path) -> int:
    """Compare every object with what the program says; return how many fields were compared."""
    program = Path(pytest.importorskip("dcm2niix").__file__).parent / "dcm2niix"
    compared = 0
    question = (
        "select file_path, mr_series.* from mr_series join instances using (series_key) "
        "where len(functional_groups) > 0 and instance_key not like '1.4.%'"
    )
    for n, row in enumerate(asked.sql(question).pl().to_dicts()):
        source, out = tmp_path / f"in{n}", tmp_path / f"out{n}"
        source.mkdir()
        out.mkdir()
        (source / "a.dcm").symlink_to(row["file_path"])
        subprocess.run(
            [program, "-b", "o", "-o", out, source], check=False, capture_output=True, timeout=60
        )
        for path in out.glob("*.json"):
            sidecar = json.loads(path.read_text())
            for field, unit in {
                "EchoTime": 1e-3, "RepetitionTime": 1e-3, "InversionTime": 1e-3, "FlipAngle": 1, "SliceThickness": 1,
            }.items():  # fmt: skip
                if field in sidecar:
                    assert row[field] * unit == pytest.approx(sidecar[field], rel=1e-5), (
                        row["file_path"],
                        field,
                    )
                    compared += 1
    return compared
