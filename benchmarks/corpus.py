"""Make a large, deterministic corpus of DICOM files by cloning a few real headers.

    python benchmarks/corpus.py FOLDER                        # 20,000 files
    python benchmarks/corpus.py FOLDER --files 2000 --seed 7
    python benchmarks/corpus.py FOLDER --templates DIR_OR_FILE …

Each template is parsed once; the fields that differ between patients, studies, series and instances
are set to fixed-width marks, and it is serialised in explicit and in implicit VR little endian.
A file is then a copy of these bytes with 20 to 30 slices overwritten, so making 20,000 files takes
seconds, and private elements, sequences and vendors' habits survive.

The hierarchy is patients → 1-3 studies → 3-8 series → 12-240 instances (fewer in a small corpus, so
that every template occurs). A study is of one template; a series is of one encoding. The same
arguments and templates give the same bytes.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import importlib.util
import io
import os
import random
import statistics
import struct
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from pydicom.datadict import tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PACKAGED = [
    ("pydicom", "data/test_files/dicomdirtests/77654033/CT2/17136"),  # GE CT, 99 private
    ("pydicom", "data/test_files/dicomdirtests/98892001/CT5N/2392"),  # GE CT, 115 private
    ("pydicom", "data/test_files/examples_overlay.dcm"),  # Siemens MR, overlays of 27 KiB
    ("pydicom", "data/test_files/JPEG2000.dcm"),  # GE NM, 65 private, nested
    ("pydicom", "data/test_files/liver_1frame.dcm"),  # SEG, 32 sequences
    ("nibabel", "nicom/tests/data/siemens_dwi_0.dcm.gz"),  # Siemens MR, CSA headers of 90 KiB
    ("nibabel", "nicom/tests/data/slicethickness_empty_string.dcm"),  # Siemens MR, 22 KiB binary
    ("nibabel", "nicom/tests/data/decimal_rescale.dcm"),  # Siemens MR, 26 private
]
"""Templates that come with packages, 100 to 250 elements each, so that it runs anywhere."""

ROOT = "1.2.826.0.1.3680043.10.777"
STUDY_DIGITS, SERIES_DIGITS, INSTANCE_DIGITS = 12, 9, 9
STUDY_UID = len(ROOT) + 1 + STUDY_DIGITS
SERIES_UID = STUDY_UID + 1 + SERIES_DIGITS
INSTANCE_UID = SERIES_UID + 1 + INSTANCE_DIGITS

PATIENT, STUDY, SERIES, INSTANCE = "patient", "study", "series", "instance"

FIELDS: dict[str, tuple[str, int, str]] = {
    "PatientID": (PATIENT, 10, "LO"),
    "PatientName": (PATIENT, 18, "PN"),
    "PatientBirthDate": (PATIENT, 8, "DA"),
    "PatientSex": (PATIENT, 2, "CS"),
    "StudyInstanceUID": (STUDY, STUDY_UID, "UI"),
    "StudyDate": (STUDY, 8, "DA"),
    "StudyTime": (STUDY, 14, "TM"),
    "AccessionNumber": (STUDY, 12, "SH"),
    "StudyID": (STUDY, 8, "SH"),
    "StudyDescription": (STUDY, 20, "LO"),
    "PatientAge": (STUDY, 4, "AS"),
    "PatientWeight": (STUDY, 6, "DS"),
    "StationName": (STUDY, 10, "SH"),
    "DeviceSerialNumber": (STUDY, 10, "LO"),
    "InstitutionName": (STUDY, 18, "LO"),
    "SeriesInstanceUID": (SERIES, SERIES_UID, "UI"),
    "FrameOfReferenceUID": (SERIES, SERIES_UID, "UI"),
    "SeriesNumber": (SERIES, 4, "IS"),
    "SeriesDate": (SERIES, 8, "DA"),
    "SeriesTime": (SERIES, 14, "TM"),
    "SeriesDescription": (SERIES, 20, "LO"),
    "ProtocolName": (SERIES, 20, "LO"),
    "SliceThickness": (SERIES, 6, "DS"),
    "SOPInstanceUID": (INSTANCE, INSTANCE_UID, "UI"),
    "InstanceNumber": (INSTANCE, 6, "IS"),
    "ContentTime": (INSTANCE, 14, "TM"),
    "AcquisitionTime": (INSTANCE, 14, "TM"),
    "InstanceCreationTime": (INSTANCE, 14, "TM"),
    "SliceLocation": (INSTANCE, 12, "DS"),
    "ImagePositionPatient": (INSTANCE, 38, "DS"),
    "WindowCenter": (INSTANCE, 6, "DS"),
    "WindowWidth": (INSTANCE, 6, "DS"),
}
"""Keyword → what it belongs to, bytes of its value, VR. Set where the template has it."""

ALWAYS = {
    "AccessionNumber", "InstanceNumber", "PatientID", "PatientName", "SOPInstanceUID",
    "SeriesDescription", "SeriesInstanceUID", "SeriesNumber", "StudyDate", "StudyDescription",
    "StudyInstanceUID", "StudyTime",
}  # fmt: skip
"""Fields that are set even where the template lacks them."""

NUMBERS = {
    "EchoTime": 6, "RepetitionTime": 8, "FlipAngle": 4, "KVP": 4, "XRayTubeCurrent": 4,
    "ExposureTime": 6, "InversionTime": 6,
}  # fmt: skip
"""Numbers of a series → bytes; set where the template has one as DS or IS."""

SERIES_SIZES = (12, 24, 32, 48, 64, 96, 128, 176, 240)
REGIONS = ("HEAD", "CHEST", "SPINE", "KNEE", "ABDOMEN", "PELVIS")
PROTOCOLS = (
    "t1_mprage", "t2_tse", "flair", "dwi_b1000", "bold_rest", "localizer", "axial_std",
    "coronal_mpr", "lung_kernel", "bone", "scout", "dyn_perf",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Patch:
    """A slice of a template's bytes that differs between its clones."""

    scope: str
    keyword: str
    start: int
    stop: int
    padding: bytes


@dataclass(frozen=True, slots=True)
class Variant:
    """A template in one encoding."""

    body: bytes
    patches: tuple[Patch, ...]
    header_bytes: int
    """Bytes before the pixel data."""
    elements: int
    """Elements, those of file meta and of items included, without pixel data."""
    nested: int
    private: int
    vrs: Counter[str]


@dataclass(frozen=True, slots=True)
class Template:
    """A real header to clone."""

    name: str
    modality: str
    explicit: Variant
    implicit: Variant


@dataclass
class Statistics:
    """What a corpus is made of."""

    files: int = 0
    patients: int = 0
    studies: int = 0
    series: int = 0
    implicit_series: int = 0
    implicit_files: int = 0
    total_bytes: int = 0
    digest: str = ""
    """SHA-256 of the bytes of all files in the order they were written."""
    uses: Counter[tuple[str, bool]] = field(default_factory=Counter)
    """(template, implicit) → files."""
    variants: dict[tuple[str, bool], Variant] = field(default_factory=dict)

    def per_file(self, attribute: str) -> list[int]:
        """Return a number of the variant of each file, in order of size."""
        return sorted(
            getattr(self.variants[use], attribute)
            for use, files in self.uses.items()
            for _ in range(files)
        )

    def lines(self) -> list[str]:
        """Say it in words."""
        elements, headers = self.per_file("elements"), self.per_file("header_bytes")
        total = sum(elements)
        vrs: Counter[str] = Counter()
        for use, files in self.uses.items():
            for vr, count in self.variants[use].vrs.items():
                vrs[vr] += count * files
        common = ", ".join(f"{vr} {count / total:.0%}" for vr, count in vrs.most_common(8))
        shape = (
            f"{self.files:,} files, {self.series:,} series, {self.studies:,} studies, "
            f"{self.patients:,} patients, {self.total_bytes / 2**20:,.0f} MiB"
        )
        count = (
            f"elements per file, without pixel data: {elements[0]} to {elements[-1]}, "
            f"median {statistics.median(elements):g}, mean {total / self.files:.1f}; "
            f"total {total:,}"
        )
        kinds = (
            f"of these in sequence items {sum(self.per_file('nested')) / total:.1%}, "
            f"private {sum(self.per_file('private')) / total:.1%}; {common}"
        )
        length = (
            f"header bytes per file: {headers[0]:,} to {headers[-1]:,}, "
            f"median {statistics.median(headers):,.0f}; over 16 KiB: "
            f"{sum(size > 16384 for size in headers) / self.files:.0%} of the files"
        )
        encoding = (
            f"implicit VR: {self.implicit_series:,} series "
            f"({self.implicit_series / self.series:.1%}), "
            f"{self.implicit_files / self.files:.1%} of the files"
        )
        source = f"templates: {len({name for name, _ in self.uses})}; sha256 {self.digest[:16]}"
        return [shape, count, kinds, length, encoding, source]


def make_corpus(
    folder: str | os.PathLike[str],
    files: int = 20_000,
    *,
    seed: int = 1,
    implicit: float = 0.2,
    pixel_bytes: int = 8192,
    templates: Sequence[str | os.PathLike[str]] = (),
    first: int = 0,
) -> Statistics:
    """Write a corpus into a folder that does not exist yet or is empty.

    Parameters
    ----------
    folder
        Where to; files become ``<patient>/<study>/<series>/IM000001.dcm``.
    files
        How many.
    seed
        Of everything that is random.
    implicit
        Share of the series in implicit VR little endian, met as exactly as whole series allow.
    pixel_bytes
        Of each file; 0 for headers alone.
    templates
        Own DICOM files, or folders of them, instead of the packaged ones.
    first
        Number of the first patient and study: corpora of one archive must not share them.

    Raises
    ------
    FileExistsError
        There is something in the folder: a corpus mixed with other files measures neither.
    ModuleNotFoundError
        A package whose files are the default templates is not installed.
    """
    os.makedirs(folder, exist_ok=True)
    if os.listdir(folder):
        raise FileExistsError(f"not empty: {os.fspath(folder)}")
    loaded = [
        load_template(path, pixel_bytes, undefined_lengths=number % 2 == 1)
        for number, path in enumerate(_template_paths(templates))
    ]
    made = Statistics()
    digest = hashlib.sha256()
    for path, body in _clones(loaded, files, seed, implicit, made, first):
        target = os.path.join(folder, path)
        try:
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        except FileNotFoundError:
            os.makedirs(os.path.dirname(target))
            descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            file.write(body)
        digest.update(body)
        made.total_bytes += len(body)
    made.digest = digest.hexdigest()
    return made


def _template_paths(given: Sequence[str | os.PathLike[str]]) -> list[str]:
    if not given:
        return [_in_package(package, path) for package, path in PACKAGED]
    paths: list[str] = []
    for path in map(os.fspath, given):
        if os.path.isdir(path):
            paths += sorted(
                os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names
            )
        else:
            paths.append(path)
    return paths


def _in_package(package: str, path: str) -> str:
    """Find a file of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(
            f"the default templates need {package}: install '.[bench]', or give --templates"
        )
    return os.path.join(spec.submodule_search_locations[0], path)


# -- templates ----------------------------------------------------------------------------------


def load_template(path: str, pixel_bytes: int, *, undefined_lengths: bool) -> Template:
    """Read a header and prepare it for cloning.

    Half of the templates are written with sequences of undefined length, as half of the vendors do.
    """
    raw = Path(path).read_bytes()
    if path.endswith(".gz"):
        raw = gzip.decompress(raw)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(io.BytesIO(raw), stop_before_pixels=True, force=True)
        _settle(dataset, undefined_lengths=undefined_lengths)
        if pixel_bytes:
            _describe_pixels(dataset, pixel_bytes)
        marks = _mark(dataset)
        name = os.path.basename(path)
        return Template(
            name,
            str(dataset.get("Modality", "OT")),
            _variant(name, dataset, marks, pixel_bytes, implicit=False),
            _variant(name, dataset, marks, pixel_bytes, implicit=True),
        )


def _settle(dataset: Dataset, *, undefined_lengths: bool) -> None:
    """Choose how sequences end; remove compressed icons, invalid in an uncompressed file."""
    if "PixelData" in dataset and dataset["PixelData"].is_undefined_length:
        del dataset["PixelData"]
    for element in dataset:
        if element.VR == "SQ":
            element.is_undefined_length = undefined_lengths
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined_lengths
                _settle(item, undefined_lengths=undefined_lengths)


def _side(pixel_bytes: int) -> int:
    """Return the side of a square image of 16-bit pixels of about so many bytes."""
    return max(1, int((pixel_bytes / 2) ** 0.5))


def _describe_pixels(dataset: Dataset, pixel_bytes: int) -> None:
    for keyword in ("NumberOfFrames", "PlanarConfiguration"):
        if keyword in dataset:
            delattr(dataset, keyword)
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelRepresentation = 0
    dataset.Rows = dataset.Columns = _side(pixel_bytes)


def _mark(dataset: Dataset) -> dict[str, tuple[str, str, bytes]]:
    """Set the fields that differ to recognisable bytes; keyword → scope, VR, these bytes."""
    wanted = {
        keyword: spec for keyword, spec in FIELDS.items() if keyword in ALWAYS or keyword in dataset
    }
    for keyword, width in NUMBERS.items():
        element = dataset.get(keyword) is not None and dataset[keyword]
        if element and element.VR in {"DS", "IS"} and element.VM == 1:
            wanted[keyword] = (SERIES, width, element.VR)
    marks = {}
    for number, (keyword, (scope, width, vr)) in enumerate(wanted.items()):
        size = width + width % 2
        raw = f"@{number:02d}".ljust(size, "#")[-size:].encode()
        tag = Tag(tag_for_keyword(keyword) or 0)
        dataset[tag] = RawDataElement(tag, vr, size, raw, 0, False, True)
        marks[keyword] = (scope, vr, raw)
    return marks


def _variant(
    name: str, dataset: Dataset, marks: Mapping[str, tuple[str, str, bytes]], pixel_bytes: int,
    *, implicit: bool,
) -> Variant:  # fmt: skip
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.get("SOPClassUID", "1.2.840.10008.5.1.4.1.1.7")
    meta.MediaStorageSOPInstanceUID = marks["SOPInstanceUID"][2].decode()
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    meta.ImplementationClassUID = f"{ROOT}.0"
    dataset.file_meta, dataset.preamble = meta, b"\0" * 128
    sink = io.BytesIO()
    pydicom.dcmwrite(sink, dataset, enforce_file_format=True)
    header = sink.getvalue()
    patches = [
        _patch(name, header, scope, keyword, vr, raw, implicit=implicit)
        for keyword, (scope, vr, raw) in marks.items()
    ]
    uid = marks["SOPInstanceUID"][2]
    patches.append(
        _patch(name, header, INSTANCE, "SOPInstanceUID", "UI", uid, implicit=False, tag=0x00020003)
    )
    pixels = b""
    if pixel_bytes:
        noise = random.Random(7).randbytes(_side(pixel_bytes) ** 2 * 2)
        vr = b"" if implicit else b"OW\0\0"
        pixels = b"\xe0\x7f\x10\x00" + vr + struct.pack("<I", len(noise)) + noise
    written = pydicom.dcmread(io.BytesIO(header))
    elements = [*written.file_meta, *written.iterall()]
    return Variant(
        header + pixels,
        tuple(patches),
        len(header),
        len(elements),
        len(elements) - len(written.file_meta) - len(written),
        sum(element.tag.is_private for element in elements),
        Counter(element.VR for element in elements),
    )


def _patch(
    name: str, header: bytes, scope: str, keyword: str, vr: str, raw: bytes,
    *, implicit: bool, tag: int | None = None,
) -> Patch:  # fmt: skip
    """Find where a marked value stands: behind the header of its element."""
    number = tag_for_keyword(keyword) or 0 if tag is None else tag
    length = struct.pack("<I", len(raw)) if implicit else vr.encode() + struct.pack("<H", len(raw))
    found = struct.pack("<HH", number >> 16, number & 0xFFFF) + length + raw
    start = header.find(found) + len(found) - len(raw)
    if found not in header or header.find(found, start) >= 0:
        raise ValueError(f"{name}: {keyword} was not written once, so it cannot be a template")
    return Patch(scope, keyword, start, start + len(raw), b"\0" if vr == "UI" else b" ")


# -- clones -------------------------------------------------------------------------------------


def _clones(
    templates: Sequence[Template],
    files: int,
    seed: int,
    implicit: float,
    made: Statistics,
    first: int,
) -> Iterator[tuple[str, bytearray]]:
    """Yield path and bytes of each file; the bytes are overwritten by the next one."""
    chance = random.Random(seed)
    order = list(templates)
    chance.shuffle(order)
    largest = max(2, files // (8 * len(order)))
    while made.files < files:
        patient = _patient(chance, first + made.patients)
        made.patients += 1
        for _ in range(chance.randint(1, 3)):
            template = order[made.studies % len(order)]
            study = _study(chance, template, first + made.studies, patient)
            second = chance.randint(7 * 3600, 19 * 3600)
            study["StudyTime"] = _clock(second)
            folder = f"{patient['PatientID']}/S{first + made.studies:07d}"
            made.studies += 1
            for number in range(1, chance.randint(3, 8) + 1):
                count = min(files - made.files, chance.choice(SERIES_SIZES), largest)
                # Every fifth series for a share of 0.2, beginning with the second.
                share = [int((made.series + k) * implicit + 0.6000001) for k in (0, 1)]
                is_implicit = share[1] > share[0]
                variant = template.implicit if is_implicit else template.explicit
                second += chance.randint(60, 400)
                yield from _series(
                    chance, variant, folder, number, count, second, {**patient, **study}
                )
                use = (template.name, is_implicit)
                made.uses[use] += count
                made.variants[use] = variant
                made.files += count
                made.series += 1
                made.implicit_series += is_implicit
                made.implicit_files += is_implicit * count
                if made.files >= files:
                    return


def _patient(chance: random.Random, number: int) -> dict[str, str]:
    return {
        "PatientID": f"PAT{number:07d}",
        "PatientName": f"SYN{number:06d}^{chance.choice(['ADA', 'BO', 'CY', 'DEE'])}",
        "PatientBirthDate": _day(chance, 1930, 2012),
        "PatientSex": chance.choice("MFO"),
    }


def _study(
    chance: random.Random, template: Template, number: int, patient: Mapping[str, str]
) -> dict[str, str]:
    date, site = _day(chance, 2015, 2025), chance.randint(1, 12)
    return {
        "StudyInstanceUID": f"{ROOT}.{_digits(chance, STUDY_DIGITS)}",
        "StudyDate": date,
        "SeriesDate": date,
        "AccessionNumber": f"ACC{number:08d}",
        "StudyID": str(number),
        "StudyDescription": f"{template.modality} {chance.choice(REGIONS)}",
        "PatientAge": f"{max(0, int(date[:4]) - int(patient['PatientBirthDate'][:4])):03d}Y",
        "PatientWeight": f"{chance.uniform(40, 110):.1f}",
        "StationName": f"SCAN{site:02d}",
        "DeviceSerialNumber": str(100000 + site),
        "InstitutionName": f"HOSPITAL {site % 5}",
    }


def _series(
    chance: random.Random, variant: Variant, folder: str, number: int, count: int, second: int,
    above: Mapping[str, str],
) -> Iterator[tuple[str, bytearray]]:  # fmt: skip
    protocol, spacing = chance.choice(PROTOCOLS), chance.choice([0.8, 1.0, 1.2, 2.0, 3.0, 5.0])
    uid = f"{above['StudyInstanceUID']}.{_digits(chance, SERIES_DIGITS)}"
    values = {
        **above,
        "SeriesInstanceUID": uid,
        "FrameOfReferenceUID": uid,
        "SeriesNumber": str(number),
        "SeriesTime": _clock(second + chance.random()),
        "SeriesDescription": f"{protocol}_{chance.randint(1, 9)}",
        "ProtocolName": protocol,
        "SliceThickness": f"{spacing:.1f}",
        "EchoTime": f"{chance.uniform(2, 120):.2f}",
        "RepetitionTime": f"{chance.uniform(300, 9000):.1f}",
        "FlipAngle": str(chance.choice([8, 9, 15, 30, 70, 90])),
        "KVP": str(chance.choice([80, 100, 120, 140])),
        "XRayTubeCurrent": str(chance.randint(50, 700)),
        "ExposureTime": str(chance.randint(300, 1500)),
        "InversionTime": str(chance.randint(100, 2500)),
    }
    body = bytearray(variant.body)
    _apply(body, [p for p in variant.patches if p.scope != INSTANCE], values)
    patches = [patch for patch in variant.patches if patch.scope == INSTANCE]
    x, y, z = (chance.uniform(-250, 250) for _ in range(3))
    first = chance.randint(10 ** (INSTANCE_DIGITS - 1), 10**INSTANCE_DIGITS - 10**5)
    for k in range(count):
        time, height = _clock(second + k * 0.731), z + k * spacing
        instance = {
            "SOPInstanceUID": f"{uid}.{first + k * 7}",
            "InstanceNumber": str(k + 1),
            "ContentTime": time,
            "AcquisitionTime": time,
            "InstanceCreationTime": time,
            "SliceLocation": f"{height:.4f}",
            "ImagePositionPatient": f"{x:.5f}\\{y:.5f}\\{height:.5f}",
            "WindowCenter": str(200 + k * 37 % 400),
            "WindowWidth": str(400 + k * 53 % 800),
        }
        _apply(body, patches, instance)
        yield f"{folder}/{number:03d}_{protocol}/IM{k + 1:06d}.dcm", body


def _apply(body: bytearray, patches: Sequence[Patch], values: Mapping[str, str]) -> None:
    for patch in patches:
        width = patch.stop - patch.start
        raw = values[patch.keyword].encode("ascii").ljust(width, patch.padding)
        assert len(raw) == width, patch.keyword
        body[patch.start : patch.stop] = raw


def _day(chance: random.Random, first: int, last: int) -> str:
    return f"{chance.randint(first, last)}{chance.randint(1, 12):02d}{chance.randint(1, 28):02d}"


def _digits(chance: random.Random, count: int) -> int:
    return chance.randint(10 ** (count - 1), 10**count - 1)


def _clock(seconds: float) -> str:
    whole = int(seconds)
    micro = int(seconds * 1_000_000) % 1_000_000
    return f"{whole // 3600 % 24:02d}{whole // 60 % 60:02d}{whole % 60:02d}.{micro:06d}"


def main() -> None:
    """Make a corpus and say what is in it."""
    parser = argparse.ArgumentParser(description="Make a deterministic corpus of DICOM files.")
    parser.add_argument("folder", type=Path, help="where to; must not exist or be empty")
    parser.add_argument("--files", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--implicit", type=float, default=0.2, help="share of implicit VR series")
    parser.add_argument("--pixels", type=int, default=8192, help="bytes of pixel data per file")
    parser.add_argument("--templates", nargs="+", default=(), help="own DICOM files or folders")
    given = parser.parse_args()
    made = make_corpus(
        given.folder, given.files, seed=given.seed, implicit=given.implicit,
        pixel_bytes=given.pixels, templates=given.templates,
    )  # fmt: skip
    print("\n".join(made.lines()))


if __name__ == "__main__":
    main()
