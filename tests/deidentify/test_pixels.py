"""Pixels that may show a name: refused, blacked out, or looked at; all others stay as they are."""

from __future__ import annotations

import io

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file

from tests.deidentify.planted import NAME, sample
from tests.dicom_files import image, write
from warehouse.deidentify.engine import deidentify
from warehouse.deidentify.facts import Facts
from warehouse.deidentify.frames import without_comments
from warehouse.deidentify.key import Key
from warehouse.deidentify.pixels import (
    PixelRules,
    device_of,
    devices,
    masked_file,
    pixels,
    rectangle,
    risk,
)
from warehouse.deidentify.profile import profile
from warehouse.errors import NotDeidentified, UsageError


def treated(content: bytes, rules: PixelRules):
    made = deidentify(
        content, profile(), Key(b"k" * 32), "P1", lambda facts, data: pixels(facts, data, rules)
    )
    written = b"".join(made.chunks)
    if made.masked.rectangles:
        written = masked_file(written, made.masked.rectangles)
    return pydicom.dcmread(io.BytesIO(written))


def saved(dataset) -> bytes:
    out = io.BytesIO()
    dataset.save_as(out, enforce_file_format=True)
    return out.getvalue()


def test_a_recognizable_person_is_left_out_unless_accepted(tmp_path) -> None:
    """PS3.3 C.7.6.1: (0028,0302) YES means that the image shows whom it is of, without any text."""
    content = picture(tmp_path, RecognizableVisualFeatures="YES")
    # The rectangle of a banner does not cover a face.
    for rules in (PixelRules(), PixelRules(((0, 0, 2, 2),))):
        with pytest.raises(NotDeidentified, match="can be recognized"):
            treated(content, rules)
    kept = treated(content, PixelRules(accept=True))
    assert kept.PixelData == pydicom.dcmread(io.BytesIO(content)).PixelData
    assert kept.RecognizableVisualFeatures == "YES"
    seen = treated(content, PixelRules(hook=lambda frames, facts: [(0, 0, 8, 6)]))
    assert not any(seen.PixelData)
    assert treated(picture(tmp_path, RecognizableVisualFeatures="NO"), PixelRules()).PixelData


def picture(tmp_path, **attributes) -> bytes:
    frame = (np.arange(6 * 8, dtype=np.uint8).reshape(6, 8) + 1).tobytes()
    usual = {"Rows": 6, "Columns": 8, "PixelData": frame, "BurnedInAnnotation": "NO"}
    return write(tmp_path / "a.dcm", image(**{**usual, **attributes})).read_bytes()


@pytest.mark.parametrize(
    ("attributes", "is_refused"),
    [
        ({"BurnedInAnnotation": "YES"}, True),
        ({"BurnedInAnnotation": None}, False),
        ({"BurnedInAnnotation": None, "Modality": "US"}, True),
        ({"BurnedInAnnotation": "NO", "Modality": "US"}, False),
        ({"BurnedInAnnotation": None, "SOPClassUID": "1.2.840.10008.5.1.4.1.1.7"}, True),
        ({"BurnedInAnnotation": None, "ConversionType": "SD"}, True),
        ({"BurnedInAnnotation": None, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, True),
        ({"BurnedInAnnotation": None, "ImageType": ["ORIGINAL", "PRIMARY"]}, False),
    ],
)
def test_what_may_show_text_is_refused(tmp_path, attributes, is_refused) -> None:
    content = picture(tmp_path, **attributes)
    if not is_refused:
        assert (
            treated(content, PixelRules()).PixelData
            == pydicom.dcmread(io.BytesIO(content)).PixelData
        )
        return
    with pytest.raises(NotDeidentified):
        treated(content, PixelRules())
    assert treated(content, PixelRules(accept=True)).Rows == 6


@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("samples", [1, 3])
def test_rectangles_are_black_and_all_else_is_the_same(tmp_path, samples, planar) -> None:
    shape = {1: (2, 6, 8), 3: (2, 6, 8, 3)}[samples]
    stored = np.random.default_rng(7).integers(1, 255, shape, dtype=np.uint8)
    ordered = stored.transpose(0, 3, 1, 2) if samples == 3 and planar else stored
    color = (
        {"PlanarConfiguration": planar, "PhotometricInterpretation": "RGB"} if samples == 3 else {}
    )
    content = picture(
        tmp_path, NumberOfFrames=2, SamplesPerPixel=samples, PixelData=ordered.tobytes(),
        BurnedInAnnotation="YES", **color,
    )  # fmt: skip
    made = treated(content, PixelRules(rectangles=((1, 2, 3, 2), (6, 0, 99, 1))))
    wanted = stored.copy()
    wanted[:, 2:4, 1:4] = 0
    wanted[:, 0:1, 6:] = 0
    assert np.array_equal(made.pixel_array, wanted)
    assert made.BurnedInAnnotation == "NO"
    assert "113101" in [code.CodeValue for code in made.DeidentificationMethodCodeSequence]


@pytest.mark.parametrize(
    "name", ["JPEG2000.dcm", "MR_small_RLE.dcm", "SC_rgb_jpeg_dcmtk.dcm", "examples_ybr_color.dcm"]
)
def test_compressed_frames_are_decoded_masked_and_compressed_without_loss(name) -> None:
    source = sample(name)
    content = saved(source)
    before = source.pixel_array
    made = treated(content, PixelRules(rectangles=((2, 3, 20, 10),)))
    after = made.pixel_array
    at = np.s_[..., 3:13, 2:22, :] if source.SamplesPerPixel == 3 else np.s_[..., 3:13, 2:22]
    wanted = before.copy()
    wanted[at] = 0
    assert np.array_equal(after, wanted)
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.5"


@pytest.mark.parametrize("outside", [(8, 0, 5, 5), (0, 6, 5, 5), (600, 0, 100, 50), (0, 0, 0, 9)])
def test_a_rectangle_outside_of_the_image_cleans_nothing(tmp_path, outside) -> None:
    content = picture(tmp_path, BurnedInAnnotation="YES")
    with pytest.raises(NotDeidentified):
        treated(content, PixelRules(rectangles=(outside,)))
    made = treated(content, PixelRules(rectangles=(outside,), accept=True))
    assert made.PixelData == pydicom.dcmread(io.BytesIO(content)).PixelData
    assert "113101" not in [code.CodeValue for code in made.DeidentificationMethodCodeSequence]
    assert (
        treated(content, PixelRules(rectangles=(outside, (7, 5, 1, 1)))).BurnedInAnnotation == "NO"
    )


def test_the_number_of_frames_is_read_as_is_is(tmp_path) -> None:
    stored = np.arange(5 * 48, dtype=np.uint8)
    content = picture(tmp_path, NumberOfFrames=5, PixelData=stored.tobytes())
    # PS3.5 6.2: a value of IS may begin with a sign.
    signed = content.replace(b"\x28\x00\x08\x00IS\x02\x005 ", b"\x28\x00\x08\x00IS\x02\x00+5")
    assert signed != content
    assert treated(signed, PixelRules()).PixelData == stored.tobytes()
    for wrong in (b"\xb2 ", b"-5", b"x "):
        with pytest.raises(NotDeidentified):
            treated(signed.replace(b"IS\x02\x00+5", b"IS\x02\x00" + wrong), PixelRules())


def test_a_device_is_known_by_its_rule_and_nothing_of_it_is_shown(tmp_path) -> None:
    assert len(devices()) == 76
    frame = np.full((768, 1024), 200, np.uint8)
    content = picture(
        tmp_path, Rows=768, Columns=1024, PixelData=frame.tobytes(), BurnedInAnnotation=None, Modality="US",
        Manufacturer="SIEMENS", ManufacturerModelName="ACUSON S2000",
    )  # fmt: skip
    made = treated(content, PixelRules())
    # deid.dicom, "SIEMMENS (CTP)": 0,0,1024,60
    assert not made.pixel_array[:60].any()
    assert (made.pixel_array[60:] == 200).all()


def test_a_rule_needs_every_condition() -> None:
    facts = Facts(
        {
            "Modality": "US",
            "Manufacturer": "SIEMENS",
            "ManufacturerModelName": "S2000",
            "Rows": 768,
            "Columns": 800,
        }
    )
    assert device_of(facts) is None
    facts.values["Columns"] = 1024
    assert device_of(facts) is not None
    assert risk(facts)


def test_a_function_looks_at_the_frames(tmp_path) -> None:
    seen = []

    def hook(frames, facts):
        seen.append((frames.shape, frames.flags.writeable, facts.text("Modality")))
        return [(0, 0, 4, 4)]

    made = treated(picture(tmp_path, Modality="US", BurnedInAnnotation=None), PixelRules(hook=hook))
    assert seen == [((1, 6, 8), False, "US")]
    assert not made.pixel_array[:4, :4].any()
    for answer in ("no rectangles", [(1, 2)], [(-1, 0, 2, 2)]):
        with pytest.raises(UsageError):
            treated(picture(tmp_path), PixelRules(hook=lambda *_, answer=answer: answer))


def test_bytes_behind_the_last_frame_are_cut_off(tmp_path) -> None:
    frame = bytes(range(1, 49))
    made = treated(picture(tmp_path, PixelData=frame + NAME.encode() + b" "), PixelRules())
    assert made.PixelData == frame
    with pytest.raises(NotDeidentified, match="shorter"):
        treated(picture(tmp_path, PixelData=frame[:40]), PixelRules())


def test_an_overlay_in_the_bits_of_pixels_is_cleared(tmp_path) -> None:
    words = np.full((6, 8), 0x8123, "<u2")
    dataset = image(
        Rows=6, Columns=8, BitsAllocated=16, BitsStored=12, HighBit=11, PixelData=words.tobytes(),
        BurnedInAnnotation="NO",
    )  # fmt: skip
    dataset.add_new(0x60000010, "US", 6)
    dataset.add_new(0x60000100, "US", 16)
    dataset.add_new(0x60000102, "US", 15)
    made = treated(write(tmp_path / "a.dcm", dataset).read_bytes(), PixelRules())
    assert (np.frombuffer(made.PixelData, "<u2") == 0x0123).all()


def test_comments_in_compressed_frames_are_blanked() -> None:
    with open(get_testdata_file("JPEG2000.dcm"), "rb") as file:
        dataset = pydicom.dcmread(file)
    before = dataset.pixel_array
    # A comment of JPEG 2000 (marker FF64) behind the size segment.
    data = bytearray(dataset.PixelData)
    start = data.index(b"\xff\x4f\xff\x51")
    behind = start + 4 + int.from_bytes(data[start + 4 : start + 6], "big")
    comment = b"\xff\x64" + (4 + len(NAME)).to_bytes(2, "big") + b"\0\1" + NAME.encode()
    comment += b"\xff\x64\0\4\0\1" if len(comment) % 2 == 0 else b"\xff\x64\0\5\0\1x"
    data[behind:behind] = comment
    length = int.from_bytes(data[start - 4 : start], "little") + len(comment)
    data[start - 4 : start] = length.to_bytes(4, "little")
    dataset.PixelData = bytes(data)
    blanked = without_comments(dataset.PixelData)
    assert NAME.encode() not in blanked
    assert len(blanked) == len(data)
    dataset.PixelData = blanked
    assert np.array_equal(dataset.pixel_array, before)
    assert without_comments(blanked) is None


def test_rectangles_are_read_strictly() -> None:
    assert rectangle("0,0,100,20") == (0, 0, 100, 20)
    for wrong in ("", "1,2,3", "a,b,c,d", "1,2,3,-4", "1,2,3,4,5", "0,0,0,5", "0,0,5,0"):
        with pytest.raises(UsageError):
            rectangle(wrong)
