"""From files with vendor payloads to answers in SQL (D36 to D39)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import MRImageStorage

import warehouse
from tests.asking import answer_of
from tests.content import content, opened, sound
from tests.dicom_files import dataset, image, write
from tests.vendor_payloads import CSA, add_private, ascconv, csa, ge_protocol

if TYPE_CHECKING:
    import duckdb
    from pydicom.dataset import Dataset

    Ingest = Callable[..., warehouse.IngestReport]

AXIAL = [1, 0, 0, 0, 1, 0]


def siemens(
    uid: str, *elements: tuple[str, str, list[str]], block: int = 0x10, protocol: str = "",
    **attributes: Any,
) -> Dataset:  # fmt: skip
    """Return a Siemens MR image with a CSA image header, and a series header with a protocol."""
    usual = {"Modality": "MR", "SOPClassUID": MRImageStorage, "SeriesInstanceUID": uid}
    made = image(uid, **{**usual, **attributes})
    header = csa(elements or [("EchoTime", "DS", ["1.5"])])
    series = csa([("UsedPatientWeight", "IS", ["1"]), ("MrPhoenixProtocol", "UN", [protocol])])
    add_private(made, CSA, 0x29, block, x10=("OB", header), x20=("OB", series))
    return made


WAYS: dict[str, dict[str, Any]] = {
    "full": {"mode": "full"}, "normal": {"mode": "normal"}, "minimal": {"mode": "minimal"},
    "without blobs": {"mode": "full", "keep_blobs": False}, "default": {},
}  # fmt: skip
"""How files are ingested, by the name of the way."""

Files = Iterator["tuple[str, Dataset]"]
_BROUGHT: list[Callable[[], Files]] = []


def brings(files: Callable[[], Files]) -> Callable[[], Files]:
    """Have files, each with the way in which it is ingested, in the archive that all tests ask.

    Each has a UID and, unless it is said otherwise, a series of its own, of which no other can know.
    """
    _BROUGHT.append(files)
    return files


ASKED = ("mr_encoding", "diffusion_frames", "diffusion_series", "siemens_private")
"""Views that take longer to plan than to ingest what they are asked about: each is planned once."""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> duckdb.DuckDBPyConnection:
    """The files of all tests, in one warehouse."""
    folder = tmp_path_factory.mktemp("vendors")
    uids = set()
    for files in _BROUGHT:
        for way, made in files():
            assert made.SOPInstanceUID not in uids
            uids.add(made.SOPInstanceUID)
            write(folder / way / made.SOPInstanceUID, made)
    wh = warehouse.open(folder / "w", create=True)
    for way, options in WAYS.items():
        done = wh.ingest(folder / way, workers=1, **options)
        assert (done.created, done.rejected) == (done.files, 0)
    connection = wh.catalog.connection
    for view in ASKED:
        connection.execute(f"create table {view} as from {view}")
    assert connection.execute("select count(*) from mr_encoding").fetchall() > [(20,)]
    return connection


def rows(
    archive: duckdb.DuckDBPyConnection, columns: str, view: str, uid: str, more: str = ""
) -> list[tuple[Any, ...]]:
    """Return columns of the rows of an instance."""
    return archive.execute(
        f"select {columns} from {view} where instance_id ="
        f" (select instance_id from instances where SOPInstanceUID = $1) {more}",
        [uid],
    ).fetchall()


# -- D36: CSA headers are rows --------------------------------------------------------------------

BLOCKS = {"1.36.1": (0x10, "normal"), "1.36.2": (0x11, "full"), "1.36.3": (0xFE, "without blobs")}


@brings
def with_headers() -> Files:
    for uid, (block, way) in BLOCKS.items():
        yield way, siemens(uid, ("B_value", "IS", ["5"]), block=block)


@pytest.mark.acceptance("D36")
@pytest.mark.parametrize("uid", BLOCKS)
def test_a_csa_header_is_found_in_any_block_and_becomes_rows(
    archive: duckdb.DuckDBPyConnection, uid: str
) -> None:
    columns = "source_tag, creator, name, index, vr, integer"
    block, _ = BLOCKS[uid]
    assert rows(archive, columns, "vendor_elements", uid, "and name = 'B_value'") == [
        (f"0029{block:02X}10", CSA, "B_value", 0, "IS", 5)
    ]


@brings
def without_creator() -> Files:
    # As of small_series/siemens/anatomical in icometrix/dicom2nifti: the anonymizer took the creator.
    direction = ("DiffusionGradientDirection", "FD", ["0", "0.6", "0.8"])
    for uid, version in (("1.37.1", 2), ("1.37.2", 1)):
        made = image(
            uid, Modality="MR", SOPClassUID=MRImageStorage, Manufacturer="SIEMENS",
            SeriesInstanceUID="1.37",
        )  # fmt: skip
        header = csa([("B_value", "IS", ["1000"]), direction], version=version)
        made.add_new(0x00291010, "OB", header)
        made.add_new(0x00291011, "OB", header)  # no usual place
        yield "default", made


def test_a_csa_header_without_creator_is_known_by_its_first_bytes(
    archive: duckdb.DuckDBPyConnection,
) -> None:
    columns = "source_tag, creator, name, integer"
    found = rows(archive, columns, "vendor_elements", "1.37.1", "and name = 'B_value'")
    assert found == [("00291010", "", "B_value", 1000)]
    assert rows(archive, columns, "vendor_elements", "1.37.2") == []
    columns = "SOPInstanceUID, b_value, b_value_source, diffusion_gradient_direction"
    answer = archive.execute(
        f"select {columns} from diffusion_frames join instances using (instance_id) where without_creator"
    )
    assert answer.fetchall() == [("1.37.1", 1000, CSA, [0, 0.6, 0.8])]


@pytest.mark.parametrize("payload", [b"", b"no", bytes(1000), csa([("A", "IS", ["1"])], version=1)])
def test_a_batch_without_any_payload_that_is_known_is_stored(
    tmp_path: Path, payload: bytes
) -> None:
    """The files of an anonymizer that took the creators: at usual tags, but no CSA header.

    Among files with payloads they were stored, alone they were rejected.
    """
    top, nested, item = image("1.1"), image("1.2"), dataset()
    for held in (top, item):
        held.add_new(0x00291010, "OB", payload)
        held.add_new(0x00291020, "OB", payload)
    nested.RequestAttributesSequence = [item]
    write(tmp_path / "in" / "1.dcm", top)
    write(tmp_path / "in" / "2.dcm", nested)
    made = warehouse.open(tmp_path / "w", create=True)
    report = made.ingest(tmp_path / "in", workers=1)
    assert (report.created, report.rejected) == (2, 0)
    assert made.sql("select count(*) from vendor_elements").fetchall() == [(0,)]


PAYLOADS = {
    "1.38.1": b"", "1.38.2": b"no header", "1.38.3": b"SV10" + b"\xff" * 300,
    "1.38.4": csa([("A", "IS", ["1"])], check=1),
}  # fmt: skip


@brings
def without_rows() -> Files:
    yield "minimal", siemens("1.36.4")
    another = image("1.36.5", SeriesInstanceUID="1.36.5")
    add_private(another, "SOMEBODY", 0x29, 0x10, x10=("OB", csa([("B_value", "IS", ["5"])])))
    yield "full", another
    for uid, payload in PAYLOADS.items():
        made = image(uid, SeriesInstanceUID=uid)
        add_private(made, CSA, 0x29, 0x10, x10=("OB", payload), x20=("OB", payload))
        add_private(made, "GEMS_SERS_01", 0x25, 0x10, x1B=("OB", payload))
        yield "default", made


def test_minimal_keeps_no_payloads(archive: duckdb.DuckDBPyConnection) -> None:
    assert rows(archive, "*", "vendor_elements", "1.36.4") == []


def test_another_creator_at_the_same_tag_is_no_csa_header(
    archive: duckdb.DuckDBPyConnection,
) -> None:
    assert rows(archive, "*", "vendor_elements", "1.36.5") == []


@pytest.mark.acceptance("D36")
@pytest.mark.parametrize("uid", PAYLOADS)
def test_a_damaged_payload_is_a_warning_and_the_file_is_kept(
    archive: duckdb.DuckDBPyConnection, uid: str
) -> None:
    warned = rows(archive, "count(*)", "vendor_elements", uid, "and warning is not null")
    # An empty element is no payload.
    assert warned == [(3 if PAYLOADS[uid] else 0,)]
    assert rows(archive, "status", "files", uid) == [("ingested",)]


@brings
def in_a_sequence() -> Files:
    made = image("1.36.6", SharedFunctionalGroupsSequence=[dataset(PatientID="x")])
    text = ascconv("sSliceArray.lSize = 3").encode()
    shared = made.SharedFunctionalGroupsSequence[0]
    add_private(shared, "SIEMENS MR SDS 01", 0x21, 0x10, x19=("OB", text + b"\0" * (len(text) % 2)))
    yield "default", made


def test_a_payload_in_a_sequence_has_its_path(archive: duckdb.DuckDBPyConnection) -> None:
    columns = "source_path, source_tag, integer"
    assert rows(archive, columns, "vendor_elements", "1.36.6") == [
        ("SharedFunctionalGroupsSequence[0]", "00211019", 3)
    ]


# -- D37: the protocol by path --------------------------------------------------------------------


@brings
def with_protocols() -> Files:
    protocol = ascconv("sShared.lSize = 36", "sSliceAcceleration.lMultiBandFactor = 0x4")
    for number in range(3):
        yield "default", siemens(f"1.39.{number}", protocol=protocol)
    ge = image("1.39.9", SeriesInstanceUID="1.39.9")
    add_private(ge, "GEMS_SERS_01", 0x25, 0x11, x1B=("OB", ge_protocol('set NUMSLICES "36"\n')))
    yield "default", ge


@pytest.mark.acceptance("D37")
def test_a_path_of_the_protocol_is_one_predicate(archive: duckdb.DuckDBPyConnection) -> None:
    query = (
        "select count(distinct instance_id), max(integer) from vendor_elements where name = '{}'"
    )
    assert archive.execute(query.format("sShared.lSize")).fetchall() == [(3, 36)]
    (factor,) = rows(
        archive, "integer", "vendor_elements", "1.39.1",
        "and name = 'sSliceAcceleration.lMultiBandFactor'",
    )  # fmt: skip
    assert factor == (4,)
    # It stands once for all three.
    stored = "select count(*) from vendor_values where name = 'sShared.lSize'"
    assert archive.execute(stored).fetchall() == [(1,)]


def test_the_ge_protocol_is_rows_too(archive: duckdb.DuckDBPyConnection) -> None:
    columns = "source_tag, creator, name, integer"
    assert rows(archive, columns, "vendor_elements", "1.39.9") == [
        ("0025111B", "GEMS_SERS_01", "NUMSLICES", 36)
    ]


# -- D38: Siemens private elements ----------------------------------------------------------------


@brings
def with_private_elements() -> Files:
    made = image("1.40.1", Modality="MR", SeriesInstanceUID="1.40.1")
    add_private(
        made, CSA, 0x29, 0x12,
        x08=("CS", "IMAGE NUM 4"), x09=("LO", "20200101"), x10=("OB", b"1" * 300),
        x18=("CS", "MR"), x19=("LO", "20200102"), x20=("OB", b"22"),
    )  # fmt: skip
    add_private(
        made, "SIEMENS MR HEADER", 0x19, 0x11,
        x0A=("US", 36), x0B=("DS", "12.5"), x0C=("IS", "1000"), x0D=("CS", "DIRECTIONAL"),
        x0E=("FD", [0.0, 0.6, 0.8]), x0F=("SH", "Fast"), x27=("FD", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
        x28=("FD", 21.5), x29=("FD", [0.0, 100.0]),
    )  # fmt: skip
    yield "full", made
    ge = image("1.40.2", Modality="MR", SeriesInstanceUID="1.40.2")
    add_private(ge, "GEMS_ACQU_01", 0x19, 0x10, x0B=("LO", "text"), x0C=("IS", "9"))
    yield "full", ge


@pytest.mark.acceptance("D38")
def test_the_fifteen_private_elements_are_typed_in_any_block(
    archive: duckdb.DuckDBPyConnection,
) -> None:
    columns = archive.execute("describe siemens_private").fetchall()
    # The id, fifteen elements, and what was not read.
    assert len(columns) == 17
    (row,) = rows(archive, "* exclude (instance_id, not_read)", "siemens_private", "1.40.1")
    digests = row[2], row[5]
    assert [len(digest) for digest in digests] == [64, 64]
    assert [value for value in row if value not in digests] == [
        "IMAGE NUM 4", "20200101", "MR", "20200102", 36, 12.5, 1000, "DIRECTIONAL",
        [0.0, 0.6, 0.8], "Fast", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 21.5, [0.0, 100.0],
    ]  # fmt: skip


@pytest.mark.acceptance("D38")
def test_the_same_tags_of_another_vendor_are_untouched(archive: duckdb.DuckDBPyConnection) -> None:
    assert rows(archive, "*", "siemens_private", "1.40.2") == []
    assert rows(archive, "text", "elements", "1.40.2", "and tag = '0019100B'") == [("text",)]
    assert rows(archive, "b_value", "mr_encoding", "1.40.2") == [(None,)]


# -- D39: what follows from them ------------------------------------------------------------------


DIRECTIONS = [
    # 1 is towards higher numbers: dcm2niix has i, and of rows that it turned over j-. Until 0.3
    # this table held the opposite, a habit of dicom_parser.
    ("ROW", "1", "i"), ("ROW", "0", "i-"), ("COL", "1", "j"), ("COL", "0", "j-"),
    ("COL", None, None), (None, "1", None), ("OTHER", "1", None), ("COL", "7", None),
]  # fmt: skip
PLANES = [
    (AXIAL, "axial"), ([1, 0, 0, 0, 0, -1], "coronal"), ([0, 1, 0, 0, 0, -1], "sagittal"),
    ([0.9, 0.1, -0.1, -0.0, 0.99, 0.2], "axial"), ([0.7, 0.7, 0, 0, 0, -1], None), (None, None),
    # Prone, decubitus, seen from behind or below; rotated and tilted by less than 45 degrees.
    ([-1, 0, 0, 0, -1, 0], "axial"), ([0, 1, 0, -1, 0, 0], "axial"), ([-1, 0, 0, 0, 0, -1], "coronal"),
    ([0, -1, 0, 0, 0, -1], "sagittal"), ([0.8, 0.6, 0, -0.6, 0.8, 0], "axial"),
    ([1, 0, 0, 0, 0.8, -0.6], "axial"), ([1, 0, 0, 0, 0.6, -0.8], "coronal"),
]  # fmt: skip


@brings
def encoded() -> Files:
    for number, (in_plane, positive, _) in enumerate(DIRECTIONS):
        stated = [] if positive is None else [positive]
        one = siemens(f"1.1.{number}", ("PhaseEncodingDirectionPositive", "IS", stated))
        if in_plane:
            one.InPlanePhaseEncodingDirection = in_plane
        yield "default", one
    for number, (orientation, _) in enumerate(PLANES):
        # The plane is known in every mode.
        yield "minimal", siemens(f"1.2.{number}", ImageOrientationPatient=orientation)


@pytest.mark.acceptance("D39")
@pytest.mark.parametrize(("number", "direction"), [(n, row[2]) for n, row in enumerate(DIRECTIONS)])
def test_phase_encoding_direction(
    archive: duckdb.DuckDBPyConnection, number: int, direction: str | None
) -> None:
    found = rows(archive, "phase_encoding_direction", "mr_encoding", f"1.1.{number}")
    assert found == [(direction,)]


@pytest.mark.acceptance("D39")
@pytest.mark.parametrize(("number", "plane"), [(n, row[1]) for n, row in enumerate(PLANES)])
def test_acquisition_plane(
    archive: duckdb.DuckDBPyConnection, number: int, plane: str | None
) -> None:
    assert rows(archive, "acquisition_plane", "mr_encoding", f"1.2.{number}") == [(plane,)]


@brings
def mosaic_without_creator() -> Files:
    """A mosaic whose private creators an anonymizer dropped: dcm2niix reads its headers."""
    made = image(
        "1.3.1", SOPClassUID=MRImageStorage, Modality="MR", SeriesInstanceUID="1.3", Manufacturer="SIEMENS",
        ImageType=["ORIGINAL", "PRIMARY", "M", "MOSAIC"], InPlanePhaseEncodingDirection="COL", Rows=8, Columns=8,
        ImagePositionPatient=[0, 0, 0], ImageOrientationPatient=AXIAL, PixelSpacing=[2, 2],
        SpacingBetweenSlices=2, PixelData=bytes(64),
    )  # fmt: skip
    header = csa([
        ("PhaseEncodingDirectionPositive", "IS", ["0"]), ("BandwidthPerPixelPhaseEncode", "FD", ["25"]),
        ("NumberOfImagesInMosaic", "US", ["4"]), ("SliceNormalVector", "FD", ["0", "0", "1"]),
    ])  # fmt: skip
    made.add_new(0x00291010, "OB", header)
    protocol = ascconv("sSliceAcceleration.lMultiBandFactor = 2")
    made.add_new(0x00291020, "OB", csa([("MrPhoenixProtocol", "UN", [protocol])]))
    yield "default", made


def test_headers_without_a_creator_tell_how_a_mosaic_was_encoded(
    archive: duckdb.DuckDBPyConnection,
) -> None:
    columns = "phase_encoding_direction, multiband_factor, effective_echo_spacing_s"
    assert rows(archive, columns, "mr_encoding", "1.3.1") == [("j-", 2, 1 / (25 * 4))]
    assert rows(archive, "sign_source", "phase_encoding", "1.3.1") == [(CSA,)]
    assert rows(archive, "readout_source", "readout_times", "1.3.1") == [(CSA,)]
    assert rows(archive, "tile_count, is_volume", "mosaic_geometry", "1.3.1") == [(4, True)]


@brings
def partly_weighted() -> Files:
    """An enhanced object, of which one frame of three states a weighting (PS3.3 C.8.13.5.9 has it by frame)."""
    own = dataset(
        DiffusionBValue=1000.0,
        DiffusionGradientDirectionSequence=[dataset(DiffusionGradientOrientation=[1.0, 0.0, 0.0])],
    )
    frames = [dataset(MRDiffusionSequence=[own]), dataset(), dataset()]
    yield (
        "default",
        image(
            "1.3.2", SOPClassUID="1.2.840.10008.5.1.4.1.1.4.1", Modality="MR", SeriesInstanceUID="1.3.2",
            NumberOfFrames=3, PixelData=bytes(12), PerFrameFunctionalGroupsSequence=frames,
        ),
    )  # fmt: skip


def test_the_weighting_of_one_frame_is_not_that_of_the_object(
    archive: duckdb.DuckDBPyConnection,
) -> None:
    columns = "b_value, diffusion_gradient_direction"
    assert rows(archive, columns, "mr_encoding", "1.3.2") == [(None, None)]


VECTORS = [None, ["1.0", "0.0", "0.0"], ["1.00001", "-0.0", "0.0"], ["0.0", "1.0", "0.0"]]


@brings
def with_diffusion() -> Files:
    protocol = ascconv("sSliceAcceleration.lMultiBandFactor = 2")
    for number, vector in enumerate(VECTORS):
        weighted = "0" if vector is None else "1000"
        yield (
            "default",
            siemens(
                f"1.41.{number}", ("B_value", "IS", [weighted]),
                ("DiffusionGradientDirection", "FD", vector or []),
                ("B_matrix", "FD", ["1", "2", "3", "4", "5", "6"] if vector else []), protocol=protocol,
                SeriesInstanceUID="1.41",
            ),
        )  # fmt: skip
    direction = ("DiffusionGradientDirection", "FD", ["1", "0", "0"])
    made = siemens("1.42.1", ("B_value", "IS", ["1"]), direction)
    made.DiffusionBValue = 750.0
    made.DiffusionGradientOrientation = [0.0, 0.0, 1.0]
    yield "default", made


@pytest.mark.acceptance("D39")
def test_diffusion_and_multiband_by_instance_and_series(
    archive: duckdb.DuckDBPyConnection,
) -> None:
    columns = "b_value, diffusion_gradient_direction, b_matrix, multiband_factor"
    found = [rows(archive, columns, "mr_encoding", f"1.41.{number}") for number in (0, 1)]
    matrix = [[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]
    assert found == [[(0.0, None, None, 2)], [(1000.0, [1.0, 0.0, 0.0], matrix, 2)]]
    series = archive.execute(
        "select * exclude (series_key, not_read) from diffusion_series where series_key = '1.41'"
    )
    assert series.fetchall() == [([0.0, 1000.0], 2, 3, 1, 0, False)]


def test_standard_elements_come_before_vendors(archive: duckdb.DuckDBPyConnection) -> None:
    columns = "b_value, diffusion_gradient_direction"
    assert rows(archive, columns, "mr_encoding", "1.42.1") == [(750.0, [0.0, 0.0, 1.0])]


@pytest.mark.long("test_diffusion_and_multiband_by_instance_and_series")
def test_packaged_diffusion_images_have_what_nibabel_finds(sample: warehouse.Warehouse) -> None:
    found = answer_of(
        sample,
        "select b_value, diffusion_gradient_direction is not null, acquisition_plane"
        " from mr_encoding where b_value is not null order by b_value",
    )
    assert (0.0, False) in [row[:2] for row in found]
    assert (1000.0, True) in [row[:2] for row in found]


@pytest.mark.long("test_phase_encoding_direction")
def test_the_corpus_has_phase_encoding_in_four_directions(tmp_path: Path) -> None:
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        pytest.skip("DICOM_CORPUS is not set")
    wh = warehouse.open(tmp_path / "w", create=True)
    wh.ingest(Path(corpus) / "siemens_epi", workers=1)
    found = answer_of(
        wh,
        "select phase_encoding_direction, acquisition_plane from mr_encoding group by all order by 1",
    )
    assert found == [("i", "axial"), ("i-", "axial"), ("j", "axial"), ("j-", "axial")]


# -- in the store ---------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def ask(ingest: Ingest, query: str) -> list[tuple[Any, ...]]:
    ingest()
    return answer_of(ingest.warehouse, query)  # type: ignore[attr-defined]


def test_payloads_go_with_their_instance(folder: Path, ingest: Ingest) -> None:
    write(folder / "a", siemens("1.1", protocol=ascconv("lShared = 1")))
    ingest()
    root = ingest.warehouse.root  # type: ignore[attr-defined]
    held = "select count(*) from vendor_values"
    assert opened(root).execute(held).fetchall() > [(0,)]
    write(folder / "a", image("1.1", PatientID="another"))
    assert ingest().replaced == 1
    assert opened(root).execute(held).fetchall() == [(0,)]


@pytest.mark.long("test_payloads_go_with_their_instance")
def test_payloads_go_with_the_last_instance_that_holds_them(folder: Path, ingest: Ingest) -> None:
    protocol = ascconv("lShared = 1")
    write(folder / "a", siemens("1.1", ("B_value", "IS", ["1"]), protocol=protocol))
    write(folder / "b", siemens("1.2", ("B_value", "IS", ["2"]), protocol=protocol))
    root = ingest.warehouse.root  # type: ignore[attr-defined]
    ingest()
    # The first instance numbered the protocol; it is replaced by one without payloads.
    write(folder / "a", image("1.1", PatientID="another"))
    assert ingest().replaced == 1
    sound(opened(root))
    query = (
        "select name, integer from vendor_elements where name in ('B_value', 'lShared') order by 1"
    )
    assert ask(ingest, query) == [("B_value", 2), ("lShared", 1)]
    assert ask(ingest, "select count(*) from vendor_values where name = 'B_value'") == [(1,)]
    write(folder / "b", image("1.2", PatientID="another"))
    ingest()
    sound(opened(root))
    assert ask(ingest, "select count(*) from vendor_values") == [(0,)]


def test_duplicates_leave_no_payloads(folder: Path, ingest: Ingest) -> None:
    for name, value in (("a", "1"), ("b", "2")):
        write(folder / name, siemens("1.1", ("B_value", "IS", [value])))
    ingest()
    sound(opened(ingest.warehouse.root))  # type: ignore[attr-defined]
    assert ask(ingest, "select integer from vendor_values where name = 'B_value'") == [(1,)]


WHOLE: dict[str, int] = {}


@pytest.mark.parametrize(
    ("count", "ways"),
    [
        (2, [WHOLE, {"chunk_rows": 1}]),
        pytest.param(
            6, [WHOLE, {"batch_files": 2}, {"chunk_files": 1}, {"chunk_rows": 1}],
            marks=pytest.mark.long("test_batches_and_portions_change_nothing"),
        ),
    ],
)  # fmt: skip
def test_batches_and_portions_change_nothing(
    folder: Path, tmp_path: Path, count: int, ways: list[dict[str, int]]
) -> None:
    for number in range(count):
        protocol = ascconv(f"lHalf = {number // 3}")
        made = siemens(f"1.{number}", ("B_value", "IS", [str(number % 4)]), protocol=protocol)
        write(folder / f"{number}", made)
    held = []
    for options in ways:
        root = tmp_path / f"w{len(held)}"
        settings = warehouse.settings.IngestSettings(workers=1, **options)
        warehouse.ingest.ingest(root, [folder], settings)
        # Which is sound, too.
        held.append(content(root)["vendor_elements"])
    assert held[0]
    assert all(rows == held[0] for rows in held)
