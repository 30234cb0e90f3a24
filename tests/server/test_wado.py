"""WADO-RS against pydicom: headers from the index, objects and frames byte by byte."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from PIL import Image
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import pixel_array

import warehouse
from tests.dicom_files import image, write
from tests.server.running import Client, parts, running
from warehouse.catalog.json_models import PLACE, models
from warehouse.server import dicomweb

AS_STORED = "multipart/related; type=application/octet-stream; transfer-syntax=*"
NATIVE = "1.2.840.10008.1.2.1"


def place(uid: str, sample: warehouse.Warehouse) -> str:
    """Return the address of an instance."""
    (row,) = sample.sql(
        "select study_key, series_key, instance_key from instances where SOPInstanceUID = $u",
        {"u": uid},
    ).fetchall()
    return "/dicomweb/studies/{}/series/{}/instances/{}".format(*row)


def uid_of(name: str) -> str:
    return str(pydicom.dcmread(get_testdata_file(name), stop_before_pixels=True).SOPInstanceUID)


def comparable(model: dict) -> dict:
    """Return a model without group lengths and with one form for every value that is referred to."""
    made = {}
    for tag, attribute in model.items():
        if tag.endswith("0000"):
            continue
        if "BulkDataURI" in attribute or len(attribute.get("InlineBinary", "")) > 344:
            made[tag] = {"vr": attribute["vr"], "BulkDataURI": ""}
        elif attribute["vr"] == "SQ" and "Value" in attribute:
            made[tag] = {"vr": "SQ", "Value": [comparable(item) for item in attribute["Value"]]}
        else:
            made[tag] = attribute
    return made


# Two of each kind of object and way to store it; or all.
TWO_OF_EACH = """
    select instance_id from instances
    qualify row_number() over (partition by SOPClassUID, TransferSyntaxUID order by instance_key) <= 2
"""
CHOSEN = [TWO_OF_EACH, pytest.param("select instance_id from instances", marks=pytest.mark.slow)]


@pytest.mark.acceptance("W4")
@pytest.mark.parametrize("chosen", CHOSEN, ids=["few", "all"])
def test_models_of_many_are_those_of_each_header(sample: warehouse.Warehouse, chosen: str) -> None:
    """`Header.to_json_dict` is held to pydicom's by tests/catalog/test_header.py."""
    rows = sample.sql("select instance_key, instance_id from instances").fetchall()
    made = models(sample.catalog.session(), [row[1] for row in rows])
    assert len(rows) == len(made) > 100
    compared = {instance_id for (instance_id,) in sample.sql(chosen).fetchall()}
    for key, instance_id in rows:
        if instance_id not in compared:
            continue
        mine = json.loads("{" + made[instance_id].replace(PLACE, "") + "}")
        wanted = comparable(sample.header(key).to_json_dict())
        assert comparable(mine) == wanted
        assert list(mine) == sorted(mine)


def test_some_tags_come_with_what_is_in_them(sample: warehouse.Warehouse) -> None:
    rows = sample.sql(
        "select distinct instance_id from elements where path like 'RequestAttributesSequence%'"
    ).fetchall()
    made = models(sample.catalog.session(), [row[0] for row in rows], ["00400275", "00080060"])
    for text in made.values():
        model = json.loads("{" + text + "}")
        assert set(model) <= {"00400275", "00080060"}
        assert model["00400275"]["Value"][0]


def test_items_of_several_curves_are_those_of_each(tmp_path: Path) -> None:
    """Curves share the keyword of (50xx,2600)."""
    made = image("1.1")
    for group in (0x5000, 0x5002, 0x5004):
        made.add_new(group << 16 | 0x2600, "SQ", [pydicom.Dataset()])
        made[group, 0x2600].value[0].ReferencedSOPInstanceUID = f"1.{group}"
    write(tmp_path / "in" / "1.dcm", made)
    held = warehouse.open(tmp_path / "w", create=True)
    held.ingest(tmp_path / "in", workers=1)
    wanted = {tag: made.to_json_dict()[tag] for tag in ("50002600", "50022600", "50042600")}
    header = held.header("1.1").to_json_dict()
    assert {tag: header[tag] for tag in wanted} == wanted
    ((number,),) = held.sql("select instance_id from instances").fetchall()
    text = models(held.catalog.session(), [number], list(wanted))[number]
    assert json.loads("{" + text + "}") == wanted


@pytest.mark.acceptance("W4")
def test_metadata_opens_no_source_file(tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "a.dcm").write_bytes(Path(get_testdata_file("CT_small.dcm")).read_bytes())
    made = warehouse.open(tmp_path / "w", create=True)
    made.ingest(source, workers=1)
    (source / "a.dcm").unlink()
    with running(made, audit=tmp_path / "audit") as client:
        address = place(uid_of("CT_small.dcm"), made)
        found = client.get(f"{address}/metadata")
        assert found.status_code == 200
        assert found.json()[0]["00100010"]["Value"] == [{"Alphabetic": "CompressedSamples^CT1"}]
        gone = client.get(address)
        assert gone.status_code == 410
        assert gone.json()["error"] == "SourceChanged"


def test_headers_of_many_are_streamed(
    client: Client, sample: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    ((study,),) = sample.sql(
        "select study_key from studies where instance_count > 10 order by 1 limit 1"
    ).fetchall()
    whole = client.get(f"/dicomweb/studies/{study}/metadata")
    monkeypatch.setattr(dicomweb, "_PORTION", 4)
    streamed = client.get(f"/dicomweb/studies/{study}/metadata")
    assert "Content-Length" not in streamed.headers
    assert streamed.content == whole.content


@pytest.mark.acceptance("W2")
@pytest.mark.parametrize("chosen", CHOSEN, ids=["few", "all"])
def test_every_object_is_the_file_that_was_ingested(
    client: Client, sample: warehouse.Warehouse, chosen: str
) -> None:
    rows = sample.sql(
        "select study_key, series_key, instance_key, file_path from instances where not contains(file_path, '!/') "
        f"and instance_id in ({chosen})"
    ).fetchall()
    assert len(rows) > 30
    for study, series, instance, path in rows:
        if study is None:  # a DICOMDIR
            continue
        address = f"/dicomweb/studies/{study}/series/{series}/instances/{instance}"
        found = client.get(address, "application/dicom; transfer-syntax=*")
        assert found.status_code == 200, found.text
        wanted = Path(path).read_bytes()
        assert hashlib.sha256(found.content).digest() == hashlib.sha256(wanted).digest()
        assert int(found.headers["Content-Length"]) == len(wanted)


def test_a_study_is_every_object_of_it(client: Client, sample: warehouse.Warehouse) -> None:
    ((study,),) = sample.sql(
        "select study_key from studies where instance_count > 10 order by 1 limit 1"
    ).fetchall()
    found = parts(
        client.get(f"/dicomweb/studies/{study}", 'multipart/related; type="application/dicom"')
    )
    paths = sample.sql(
        "select file_path from instances where study_key = $s", {"s": study}
    ).fetchall()
    assert all(kind.startswith("application/dicom; transfer-syntax=") for kind, _ in found)
    wanted = sorted(hashlib.sha256(Path(path).read_bytes()).hexdigest() for (path,) in paths)
    assert sorted(hashlib.sha256(content).hexdigest() for _, content in found) == wanted


FRAMES = {
    "CT_small.dcm": "application/octet-stream",
    "MR_small_implicit.dcm": "application/octet-stream",
    "MR_small_bigendian.dcm": "application/octet-stream",
    "SC_rgb_small_odd_big_endian.dcm": "application/octet-stream",
    "rtdose_expb.dcm": "application/octet-stream",
    "image_dfl.dcm": "application/octet-stream",
    "MR_small_RLE.dcm": "image/dicom-rle",
    "SC_rgb_rle_16bit_2frame.dcm": "image/dicom-rle",
    "SC_rgb_dcmtk_+eb+cr.dcm": "image/jpeg",
    "JPGExtended.dcm": "image/jpeg",
    "SC_rgb_jpeg_gdcm.dcm": "image/jpeg",
    "examples_ybr_color.dcm": "image/jpeg",
    "MR_small_jpeg_ls_lossless.dcm": "image/jls",
    "MR_small_jp2klossless.dcm": "image/jp2",
    "693_J2KI.dcm": "image/jp2",
}


def stored(name: str) -> list[bytes]:
    """Return the frames of a sample file as pydicom finds them, compressed or in little endian."""
    read = pydicom.dcmread(get_testdata_file(name))
    count = int(read.get("NumberOfFrames", 1))
    if read.file_meta.TransferSyntaxUID.is_encapsulated:
        return list(generate_frames(read.PixelData, number_of_frames=count))
    array = pixel_array(read, raw=True)
    frames = array if count > 1 else [array]
    return [
        np.ascontiguousarray(frame.astype(frame.dtype.newbyteorder("<"))).tobytes()
        for frame in frames
    ]


@pytest.fixture(scope="module")
def syntaxes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, dict[str, str]]]:
    """A server over one file of each encoding, and their addresses: many samples share their UIDs."""
    folder = tmp_path_factory.mktemp("syntaxes")
    addresses = {}
    for number, name in enumerate(FRAMES, 1):
        read = pydicom.dcmread(get_testdata_file(name))
        read.StudyInstanceUID, read.SeriesInstanceUID = f"1.9.{number}", f"1.9.{number}.1"
        read.SOPInstanceUID = read.file_meta.MediaStorageSOPInstanceUID = f"1.9.{number}.1.1"
        (folder / "in").mkdir(exist_ok=True)
        read.save_as(folder / "in" / name)
        addresses[name] = (
            f"/dicomweb/studies/1.9.{number}/series/1.9.{number}.1/instances/1.9.{number}.1.1"
        )
    made = warehouse.open(folder / "w", create=True)
    made.ingest(folder / "in", workers=1)
    with running(made, audit=folder / "audit") as client:
        yield client, addresses


@pytest.mark.acceptance("W1")
@pytest.mark.parametrize("name", FRAMES)
def test_frames_as_stored_are_those_of_pydicom(
    syntaxes: tuple[Client, dict[str, str]], name: str
) -> None:
    client, addresses = syntaxes
    address = addresses[name]
    wanted = stored(name)
    chosen = sorted({1, len(wanted)})
    for number in chosen:
        found = client.get(f"{address}/frames/{number}", AS_STORED)
        ((kind, content),) = parts(found)
        assert found.headers["Content-Type"].startswith(f'multipart/related; type="{FRAMES[name]}"')
        assert kind.startswith(f"{FRAMES[name]}; transfer-syntax=1.2.840.10008.1.2")
        assert content == wanted[number - 1]
    numbers = ",".join(map(str, chosen))
    several = parts(client.get(f"{address}/frames/{numbers}", AS_STORED))
    assert [one for _, one in several] == [wanted[number - 1] for number in chosen]


ACCEPTED = {  # what a client says → media type and whether the frame is decompressed; None: 406
    'multipart/related; type="*/*"': ("image/jp2", False),
    "multipart/related; type=image/jp2; transfer-syntax=*": ("image/jp2", False),
    'multipart/related; type="image/jp2"': ("image/jp2", False),
    'multipart/related; type="application/octet-stream"': ("application/octet-stream", True),
    f"multipart/related; type=application/octet-stream; transfer-syntax={NATIVE}": (
        "application/octet-stream",
        True,
    ),
    'application/dicom+json, multipart/related; type="application/octet-stream"; transfer-syntax=*': (
        "image/jp2",
        False,
    ),
    'multipart/related; type="image/jpeg";q=1, multipart/related; type="application/octet-stream";q=0.5': (
        "application/octet-stream",
        True,
    ),
    "application/octet-stream": ("application/octet-stream", True),
    "*/*": ("image/jp2", False),
    'multipart/related; type="image/jpeg"': None,
    "text/html": None,
}


@pytest.mark.acceptance("W2")
@pytest.mark.parametrize("accept", ACCEPTED)
def test_what_a_client_accepts_it_gets(
    syntaxes: tuple[Client, dict[str, str]], accept: str
) -> None:
    client, addresses = syntaxes
    address = addresses["MR_small_jp2klossless.dcm"]
    found = client.get(f"{address}/frames/1", accept)
    if ACCEPTED[accept] is None:
        assert found.status_code == 406
        assert "image/jp2" in found.json()["message"]
        return
    media, is_native = ACCEPTED[accept]
    if accept == "application/octet-stream":
        kind, content = found.headers["Content-Type"], found.content
    else:
        ((kind, content),) = parts(found)
    assert kind.startswith(media)
    array = pixel_array(get_testdata_file("MR_small_jp2klossless.dcm"), raw=True)
    assert content == (array.tobytes() if is_native else stored("MR_small_jp2klossless.dcm")[0])


@pytest.mark.acceptance("W2")
def test_dicomweb_client_gets_along(
    client: Client, sample: warehouse.Warehouse, syntaxes: tuple[Client, dict[str, str]]
) -> None:
    """The client library that IDC and highdicom use (dicomweb-client 0.61)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        service = DICOMwebClient(url=f"{client.url}/dicomweb")
        ((count,),) = sample.sql("select count(*) from studies").fetchall()
        found = []
        while page := service.search_for_studies(limit=7, offset=len(found)):
            found += page
        assert len({study["0020000D"]["Value"][0] for study in found}) == len(found) == count
        service = DICOMwebClient(url=f"{syntaxes[0].url}/dicomweb")
        uids = syntaxes[1]["MR_small_jp2klossless.dcm"].split("/")[3::2]
        encoded = stored("MR_small_jp2klossless.dcm")
        read = service.retrieve_instance(*uids)
        assert read.SOPInstanceUID == uids[2]
        header = service.retrieve_instance_metadata(*uids)
        assert header["00080018"]["Value"] == [uids[2]]
        assert service.retrieve_series_metadata(*uids[:2]) == [header]
        assert service.retrieve_instance_frames(*uids, [1]) == encoded
        jp2 = ("image/jp2", "1.2.840.10008.1.2.4.90")
        assert service.retrieve_instance_frames(*uids, [1], media_types=(jp2,)) == encoded
        assert service.retrieve_series(*uids[:2]) == [read]
        (pixels,) = service.retrieve_bulkdata(header["7FE00010"]["BulkDataURI"])
        assert pixels == encoded[0]
        picture = service.retrieve_instance_rendered(*uids, media_types=("image/png",))
        assert Image.open(io.BytesIO(picture)).size == (64, 64)


def test_long_values_are_bulk_data(client: Client, sample: warehouse.Warehouse) -> None:
    """pydicom is the oracle of the bytes; one lies in an item of a sequence."""
    rows = sample.sql(
        "select SOPInstanceUID, elements.path, tag, sha256 from elements join instances using (instance_id) "
        "where length between 257 and 100000 and sha256 is not null qualify row_number() over "
        "(partition by elements.path = '' order by tag, instance_key) = 1"
    ).fetchall()
    assert rows
    for uid, path, tag, sha256 in rows:
        found = client.get(f"{place(uid, sample)}/metadata")
        (header,) = found.json()
        where = quote(f"{path}.{tag}" if path else tag, safe="")
        (uri,) = {
            one for one in json.dumps(header).split('"') if one.endswith(f"/bulkdata/{where}")
        }
        ((kind, content),) = parts(
            client.get(
                uri.removeprefix(client.url), 'multipart/related; type="application/octet-stream"'
            )
        )
        assert kind == "application/octet-stream"
        assert hashlib.sha256(content).hexdigest() == sha256


def test_pictures(client: Client, sample: warehouse.Warehouse) -> None:
    address = place(uid_of("CT_small.dcm"), sample)
    picture = Image.open(
        io.BytesIO(client.get(f"{address}/rendered?viewport=64,64", "image/png").content)
    )
    assert picture.size == (64, 64)
    window = Image.open(
        io.BytesIO(client.get(f"{address}/rendered?window=50,400,linear", "image/png").content)
    )
    values = pydicom.dcmread(get_testdata_file("CT_small.dcm"))
    hounsfield = values.pixel_array * float(values.RescaleSlope) + float(values.RescaleIntercept)
    # PS3.3 C.11.2.1.2.1, at a point that neither end of the window cuts off.
    row, column = np.argwhere((hounsfield > 0) & (hounsfield < 100))[0]
    grey = ((hounsfield[row, column] - 49.5) / 399 + 0.5) * 255
    assert abs(np.asarray(window)[row, column] - grey) <= 1
    for path in (address, address.rpartition("/instances")[0], address.partition("/series")[0]):
        assert client.get(f"{path}/thumbnail", "image/jpeg").content[:2] == b"\xff\xd8"
    assert client.get(f"{address}/frames/1/rendered").headers["Content-Type"] == "image/jpeg"
    for wrong in (
        "viewport=0,0",
        "viewport=a",
        "window=1",
        "window=1,0",
        "window=1,2,sigmoid",
        "quality=0",
        "viewport=1e9,1e9",
        "window=nan,1",
    ):
        assert client.get(f"{address}/rendered?{wrong}").status_code == 400, wrong


@pytest.mark.acceptance("W1")
def test_single_bits_and_htj2k(tmp_path: Path) -> None:
    """Frames of 15 bits begin at a byte each; as no encoder is here, one codestream is J2K's."""
    bits = np.array([1, 0, 0, 1, 1] * 6, np.uint8).reshape(2, 15)
    packed = np.packbits(bits.reshape(-1), bitorder="little").tobytes()
    seg = image(
        "1.8.1",
        Rows=3,
        Columns=5,
        BitsAllocated=1,
        BitsStored=1,
        HighBit=0,
        NumberOfFrames=2,
        PixelData=packed,
    )
    write(tmp_path / "in" / "seg.dcm", seg)
    made = image(
        "1.8.2",
        SeriesInstanceUID="1.2.1.2",
        PixelData=encapsulate(stored("MR_small_jp2klossless.dcm")),
    )
    write(tmp_path / "in" / "ht.dcm", made)
    read = pydicom.dcmread(tmp_path / "in" / "ht.dcm")
    read.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.201"
    read["PixelData"].is_undefined_length = True
    read.save_as(tmp_path / "in" / "ht.dcm")
    many = pydicom.dcmread(get_testdata_file("examples_ybr_color.dcm"))
    many.PixelData = encapsulate(stored("examples_ybr_color.dcm"), has_bot=False)
    many["PixelData"].is_undefined_length = True
    many.save_as(tmp_path / "in" / "many.dcm")
    held = warehouse.open(tmp_path / "w", create=True)
    held.ingest(tmp_path / "in", workers=1)
    with running(held, audit=tmp_path / "audit") as client:
        address = "/dicomweb/studies/1.2.1/series/1.2.1.1/instances/1.8.1"
        found = [content for _, content in parts(client.get(f"{address}/frames/1,2", AS_STORED))]
        assert found == [np.packbits(frame, bitorder="little").tobytes() for frame in bits]
        assert (
            client.get(f"{address}/bulkdata/7FE00010", "application/octet-stream").content == packed
        )
        address = "/dicomweb/studies/1.2.1/series/1.2.1.2/instances/1.8.2"
        ((kind, content),) = parts(client.get(f"{address}/frames/1", AS_STORED))
        assert kind == "image/jphc; transfer-syntax=1.2.840.10008.1.2.4.201"
        assert content == stored("MR_small_jp2klossless.dcm")[0]
        address = place(str(many.SOPInstanceUID), held)
        offsets = pydicom.encaps.parse_basic_offsets(many.PixelData)
        found = [content for _, content in parts(client.get(f"{address}/frames/2,30", AS_STORED))]
        assert (offsets, found) == ([], [stored("examples_ybr_color.dcm")[n] for n in (1, 29)])


@pytest.mark.parametrize("numbers", ["0", "2", "a", "1,,1", "-1", "99999999999999999999", "1;2"])
def test_frames_that_are_not_there(
    client: Client, sample: warehouse.Warehouse, numbers: str
) -> None:
    address = place(uid_of("CT_small.dcm"), sample)
    assert client.get(f"{address}/frames/{numbers}", AS_STORED).status_code in {400, 404}


def test_binary_values_of_big_endian_files_are_little_endian(tmp_path: Path) -> None:
    """PS3.18 8.7.3: values are sent in little endian; neither JSON nor a part says another order."""
    long, short = 70_001 * 8, 16
    values = {
        0x00281201: ("OW", "u2", long), 0x60003000: ("OW", "u2", short), 0x00660016: ("OF", "f4", long),
        0x00660021: ("OF", "f4", short), 0x00660040: ("OL", "u4", short), 0x00720073: ("OD", "f8", short),
        0x00720082: ("OV", "u8", long), 0x00420011: ("OB", "u1", short),
    }  # fmt: skip
    rng = np.random.default_rng(1)
    words = {
        tag: rng.integers(0, 100, size // int(kind[1])).astype(kind)
        for tag, (_, kind, size) in values.items()
    }
    for syntax, order in (("big", ">"), ("explicit", "<")):
        made = image(f"1.{syntax == 'big':d}", SeriesInstanceUID=f"1.9.{syntax == 'big':d}")
        for tag, (vr, kind, _) in values.items():
            made.add_new(tag, vr, words[tag].astype(f"{order}{kind}").tobytes())
        item = pydicom.Dataset()
        item.add_new(0x60003000, "OW", words[0x60003000].astype(f"{order}u2").tobytes())
        made.add_new(0x00082112, "SQ", [item])
        write(tmp_path / "in" / f"{syntax}.dcm", made, syntax)
    held = warehouse.open(tmp_path / "w", create=True)
    held.ingest(tmp_path / "in", workers=1)
    with running(held, audit=tmp_path / "audit") as client:
        for number in (0, 1):
            url = f"/dicomweb/studies/1.2.1/series/1.9.{number}/instances/1.{number}"
            (model,) = client.get(f"{url}/metadata").json()
            (inner,) = model["00082112"]["Value"]
            assert base64.b64decode(inner["60003000"]["InlineBinary"]) == (
                words[0x60003000].astype("<u2").tobytes()
            )
            for tag, (_, kind, size) in values.items():
                expected = words[tag].astype(f"<{kind}").tobytes()
                sent = client.get(f"{url}/bulkdata/{tag:08X}")
                assert [content for _, content in parts(sent)] == [expected], f"{tag:08X}"
                inline = model[f"{tag:08X}"].get("InlineBinary")
                assert (inline is None) == (size == long)
                assert inline is None or base64.b64decode(inline) == expected, f"{tag:08X}"
