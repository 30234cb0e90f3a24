"""From files with vendor payloads to answers in SQL (D36 to D39)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydicom.uid import MRImageStorage

import warehouse
from tests.content import content, opened, sound
from tests.dicom_files import dataset, image, write
from tests.vendor_payloads import CSA, add_private, ascconv, csa, ge_protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydicom.dataset import Dataset

    Ingest = Callable[..., warehouse.IngestReport]

AXIAL = [1, 0, 0, 0, 1, 0]


def siemens(
    uid: str, *elements: tuple[str, str, list[str]], block: int = 0x10, protocol: str = "",
    **attributes: Any,
) -> Dataset:  # fmt: skip
    """Return a Siemens MR image with a CSA image header, and a series header with a protocol."""
    made = image(uid, **{"Modality": "MR", "SOPClassUID": MRImageStorage, **attributes})
    header = csa(elements or [("EchoTime", "DS", ["1.5"])])
    series = csa([("UsedPatientWeight", "IS", ["1"]), ("MrPhoenixProtocol", "UN", [protocol])])
    add_private(made, CSA, 0x29, block, x10=("OB", header), x20=("OB", series))
    return made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


def ask(ingest: Ingest, query: str, **options: Any) -> list[tuple[Any, ...]]:
    ingest(**options)
    return asked(ingest, query)


def asked(ingest: Ingest, query: str) -> list[tuple[Any, ...]]:
    # A relation would plan the question when it is made, and again for its rows.
    connection = ingest.warehouse.catalog.connection  # type: ignore[attr-defined]
    rows: list[tuple[Any, ...]] = connection.execute(query).fetchall()
    return rows


# -- D36: CSA headers are rows --------------------------------------------------------------------


@pytest.mark.acceptance("D36")
@pytest.mark.parametrize(
    ("block", "mode", "blobs"),
    [(0x10, "normal", True), (0x11, "full", True), (0xFE, "full", False)],
)
def test_a_csa_header_is_found_in_any_block_and_becomes_rows(
    folder: Path, ingest: Ingest, block: int, mode: str, blobs: bool
) -> None:
    write(folder / "a", siemens("1.1", ("B_value", "IS", ["5"]), block=block))
    query = "select source_tag, creator, name, index, vr, integer from vendor_elements where name = 'B_value'"
    assert ask(ingest, query, mode=mode, keep_blobs=blobs) == [
        (f"0029{block:02X}10", CSA, "B_value", 0, "IS", 5)
    ]


def test_a_csa_header_without_creator_is_known_by_its_first_bytes(
    folder: Path, ingest: Ingest
) -> None:
    # As of small_series/siemens/anatomical in icometrix/dicom2nifti: the anonymiser took the creator.
    direction = ("DiffusionGradientDirection", "FD", ["0", "0.6", "0.8"])
    for uid, version in (("1.1", 2), ("1.2", 1)):
        made = image(uid, Modality="MR", SOPClassUID=MRImageStorage, Manufacturer="SIEMENS")
        header = csa([("B_value", "IS", ["1000"]), direction], version=version)
        made.add_new(0x00291010, "OB", header)
        made.add_new(0x00291011, "OB", header)  # no usual place
        write(folder / uid, made)
    query = "select SOPInstanceUID, source_tag, creator, name, integer from vendor_elements join instances using (instance_id) where name = 'B_value'"
    assert ask(ingest, query) == [("1.1", "00291010", "", "B_value", 1000)]
    query = "select b_value, without_creator, b_value_source, diffusion_gradient_direction from diffusion_frames where without_creator"
    assert asked(ingest, query) == [(1000, True, CSA, [0, 0.6, 0.8])]


def test_minimal_keeps_no_payloads(folder: Path, ingest: Ingest) -> None:
    write(folder / "a", siemens("1.1"))
    assert ask(ingest, "from vendor_elements", mode="minimal") == []


def test_another_creator_at_the_same_tag_is_no_csa_header(folder: Path, ingest: Ingest) -> None:
    made = image("1.1")
    add_private(made, "SOMEBODY", 0x29, 0x10, x10=("OB", csa([("B_value", "IS", ["5"])])))
    write(folder / "a", made)
    assert ask(ingest, "from vendor_elements", mode="full") == []


@pytest.mark.acceptance("D36")
@pytest.mark.parametrize(
    "payload", [b"", b"no header", b"SV10" + b"\xff" * 300, csa([("A", "IS", ["1"])], check=1)]
)
def test_a_damaged_payload_is_a_warning_and_the_file_is_kept(
    folder: Path, ingest: Ingest, payload: bytes
) -> None:  # fmt: skip
    made = image("1.1")
    add_private(made, CSA, 0x29, 0x10, x10=("OB", payload), x20=("OB", payload))
    add_private(made, "GEMS_SERS_01", 0x25, 0x10, x1B=("OB", payload))
    write(folder / "a", made)
    warned = ask(ingest, "select count(*) from vendor_elements where warning is not null")
    # An empty element is no payload.
    assert warned == [(3 if payload else 0,)]
    assert ingest.warehouse.sql("select status from files").fetchall() == [("ingested",)]  # type: ignore[attr-defined]


def test_a_payload_in_a_sequence_has_its_path(folder: Path, ingest: Ingest) -> None:
    made = image("1.1", SharedFunctionalGroupsSequence=[dataset(PatientID="x")])
    text = ascconv("sSliceArray.lSize = 3").encode()
    shared = made.SharedFunctionalGroupsSequence[0]
    add_private(shared, "SIEMENS MR SDS 01", 0x21, 0x10, x19=("OB", text + b"\0" * (len(text) % 2)))
    write(folder / "a", made)
    query = "select source_path, source_tag, integer from vendor_elements"
    assert ask(ingest, query) == [("SharedFunctionalGroupsSequence[0]", "00211019", 3)]


# -- D37: the protocol by path --------------------------------------------------------------------


@pytest.mark.acceptance("D37")
def test_a_path_of_the_protocol_is_one_predicate(folder: Path, ingest: Ingest) -> None:
    protocol = ascconv("sSliceArray.lSize = 36", "sSliceAcceleration.lMultiBandFactor = 0x4")
    for number in range(3):
        write(folder / f"{number}", siemens(f"1.{number}", protocol=protocol))
    query = (
        "select count(distinct instance_id), max(integer) from vendor_elements where name = '{}'"
    )
    assert ask(ingest, query.format("sSliceArray.lSize")) == [(3, 36)]
    assert asked(ingest, query.format("sSliceAcceleration.lMultiBandFactor")) == [(3, 4)]
    # It stands once for all three.
    stored = "select count(*) from vendor_values where name = 'sSliceArray.lSize'"
    assert asked(ingest, stored) == [(1,)]


def test_the_ge_protocol_is_rows_too(folder: Path, ingest: Ingest) -> None:
    made = image("1.1")
    add_private(made, "GEMS_SERS_01", 0x25, 0x11, x1B=("OB", ge_protocol('set NUMSLICES "36"\n')))
    write(folder / "a", made)
    query = "select source_tag, creator, name, integer from vendor_elements"
    assert ask(ingest, query) == [("0025111B", "GEMS_SERS_01", "NUMSLICES", 36)]


# -- D38: Siemens private elements ----------------------------------------------------------------


@pytest.mark.acceptance("D38")
def test_the_fifteen_private_elements_are_typed_in_any_block(folder: Path, ingest: Ingest) -> None:
    made = image("1.1", Modality="MR")
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
    write(folder / "a", made)
    columns = ask(ingest, "describe siemens_private", mode="full")
    # The id, fifteen elements, and what was not read.
    assert len(columns) == 17
    (row,) = asked(ingest, "select * exclude (instance_id, not_read) from siemens_private")
    digests = row[2], row[5]
    assert [len(digest) for digest in digests] == [64, 64]
    assert [value for value in row if value not in digests] == [
        "IMAGE NUM 4", "20200101", "MR", "20200102", 36, 12.5, 1000, "DIRECTIONAL",
        [0.0, 0.6, 0.8], "Fast", [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], 21.5, [0.0, 100.0],
    ]  # fmt: skip


@pytest.mark.acceptance("D38")
def test_the_same_tags_of_another_vendor_are_untouched(folder: Path, ingest: Ingest) -> None:
    made = image("1.1", Modality="MR")
    add_private(made, "GEMS_ACQU_01", 0x19, 0x10, x0B=("LO", "text"), x0C=("IS", "9"))
    write(folder / "a", made)
    assert ask(ingest, "from siemens_private", mode="full") == []
    assert asked(ingest, "select text from elements where tag = '0019100B'") == [("text",)]
    assert asked(ingest, "select b_value from mr_encoding") == [(None,)]


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
]  # fmt: skip


@pytest.fixture(scope="module")
def encoded(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str | None]]:
    """What `mr_encoding` says of each direction and each plane, by the UID of the image.

    To plan this view takes half a second: it is asked once for all. Each image is a series of its
    own, of which no other can know anything.
    """
    made = tmp_path_factory.mktemp("encoded")
    for number, (in_plane, positive, _) in enumerate(DIRECTIONS):
        stated = [] if positive is None else [positive]
        uid = f"1.1.{number}"
        one = siemens(uid, ("PhaseEncodingDirectionPositive", "IS", stated), SeriesInstanceUID=uid)
        if in_plane:
            one.InPlanePhaseEncodingDirection = in_plane
        write(made / "directions" / uid, one)
    for number, (orientation, _) in enumerate(PLANES):
        uid = f"1.2.{number}"
        one = siemens(uid, ImageOrientationPatient=orientation, SeriesInstanceUID=uid)
        write(made / "planes" / uid, one)
    wh = warehouse.open(made / "w", create=True)
    wh.ingest(made / "directions", workers=1)
    # The plane is known in every mode.
    wh.ingest(made / "planes", mode="minimal", workers=1)
    found = wh.catalog.connection.execute(
        "select SOPInstanceUID, phase_encoding_direction, acquisition_plane"
        " from mr_encoding join instances using (instance_id)"
    ).fetchall()
    assert len(found) == len(DIRECTIONS) + len(PLANES)
    return {uid: {"direction": direction, "plane": plane} for uid, direction, plane in found}


@pytest.mark.acceptance("D39")
@pytest.mark.parametrize(("number", "direction"), [(n, row[2]) for n, row in enumerate(DIRECTIONS)])
def test_phase_encoding_direction(
    encoded: dict[str, dict[str, str | None]], number: int, direction: str | None
) -> None:
    assert encoded[f"1.1.{number}"]["direction"] == direction


@pytest.mark.acceptance("D39")
@pytest.mark.parametrize(("number", "plane"), [(n, row[1]) for n, row in enumerate(PLANES)])
def test_acquisition_plane(
    encoded: dict[str, dict[str, str | None]], number: int, plane: str | None
) -> None:
    assert encoded[f"1.2.{number}"]["plane"] == plane


@pytest.mark.acceptance("D39")
def test_diffusion_and_multiband_by_instance_and_series(folder: Path, ingest: Ingest) -> None:
    protocol = ascconv("sSliceAcceleration.lMultiBandFactor = 2")
    vectors = [None, ["1.0", "0.0", "0.0"], ["1.00001", "-0.0", "0.0"], ["0.0", "1.0", "0.0"]]
    for number, vector in enumerate(vectors):
        weighted = "0" if vector is None else "1000"
        made = siemens(
            f"1.{number}", ("B_value", "IS", [weighted]),
            ("DiffusionGradientDirection", "FD", vector or []),
            ("B_matrix", "FD", ["1", "2", "3", "4", "5", "6"] if vector else []), protocol=protocol,
        )  # fmt: skip
        write(folder / f"{number}", made)
    query = (
        "select b_value, diffusion_gradient_direction, b_matrix, multiband_factor from mr_encoding"
        " order by instance_id limit 2"
    )
    matrix = [[1.0, 2.0, 3.0], [2.0, 4.0, 5.0], [3.0, 5.0, 6.0]]
    assert ask(ingest, query) == [(0.0, None, None, 2), (1000.0, [1.0, 0.0, 0.0], matrix, 2)]
    series = asked(ingest, "select * exclude (series_key, not_read) from diffusion_series")
    assert series == [([0.0, 1000.0], 2, 3, 1, 0, False)]


def test_standard_elements_come_before_vendors(folder: Path, ingest: Ingest) -> None:
    made = siemens(
        "1.1", ("B_value", "IS", ["1"]), ("DiffusionGradientDirection", "FD", ["1", "0", "0"])
    )
    made.DiffusionBValue = 750.0
    made.DiffusionGradientOrientation = [0.0, 0.0, 1.0]
    write(folder / "a", made)
    query = "select b_value, diffusion_gradient_direction from mr_encoding"
    assert ask(ingest, query) == [(750.0, [0.0, 0.0, 1.0])]


def test_packaged_diffusion_images_have_what_nibabel_finds(sample: warehouse.Warehouse) -> None:
    found = sample.sql(
        "select b_value, diffusion_gradient_direction is not null, acquisition_plane"
        " from mr_encoding where b_value is not null order by b_value"
    ).fetchall()
    assert (0.0, False) in [row[:2] for row in found]
    assert (1000.0, True) in [row[:2] for row in found]


def test_the_corpus_has_phase_encoding_in_four_directions(ingest: Ingest) -> None:
    corpus = os.environ.get("DICOM_CORPUS")
    if not corpus:
        pytest.skip("DICOM_CORPUS is not set")
    ingest(Path(corpus) / "siemens_epi")
    found = ingest.warehouse.sql(  # type: ignore[attr-defined]
        "select phase_encoding_direction, acquisition_plane from mr_encoding group by all order by 1"
    ).fetchall()
    assert found == [("i", "axial"), ("i-", "axial"), ("j", "axial"), ("j-", "axial")]


# -- in the store ---------------------------------------------------------------------------------


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


def test_batches_and_portions_change_nothing(folder: Path, tmp_path: Path) -> None:
    for number in range(6):
        protocol = ascconv(f"lHalf = {number // 3}")
        made = siemens(f"1.{number}", ("B_value", "IS", [str(number % 4)]), protocol=protocol)
        write(folder / f"{number}", made)
    held = []
    for options in ({}, {"batch_files": 2}, {"chunk_files": 1}, {"chunk_rows": 1}):
        root = tmp_path / f"w{len(held)}"
        settings = warehouse.settings.IngestSettings(workers=1, **options)
        warehouse.ingest.ingest(root, [folder], settings)
        # Which is sound, too.
        held.append(content(root)["vendor_elements"])
    assert held[0]
    assert all(rows == held[0] for rows in held)
