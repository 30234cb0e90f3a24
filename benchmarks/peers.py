"""How DICOM headers get into a table today: one function per method, all with the same contract.

In: a folder of files and an empty folder for what is written. Out: ``Read``. Each function lists
the folder itself, reads every header, writes Parquet (dcmdump: text), and counts a file it cannot
read as refused instead of stopping. It is the script a user would write, in its quickest form.

``METHODS`` names them. A method imports its package in its function; ``missing`` says what is not
installed, and a method that is missing is shown as such.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

FLUSH_ROWS = 20_000
"""Rows collected before they are written: what suits the peers best; 500,000 cost 20 to 30 %."""

TAGS = [
    "SpecificCharacterSet", "ImageType", "SOPClassUID", "SOPInstanceUID", "StudyDate",
    "SeriesDate", "AcquisitionDate", "StudyTime", "AccessionNumber", "Modality", "Manufacturer",
    "InstitutionName", "StudyDescription", "SeriesDescription", "ManufacturerModelName",
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientAge",
    "BodyPartExamined", "SliceThickness", "RepetitionTime", "EchoTime", "ProtocolName",
    "StudyInstanceUID", "SeriesInstanceUID", "SeriesNumber", "InstanceNumber",
    "ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SliceLocation",
    "Rows", "Columns", "PixelSpacing", "BitsAllocated",
]  # fmt: skip
"""The 37 tags of the methods that pick some."""


@dataclass(frozen=True, slots=True)
class Read:
    """What one run of a method got."""

    elements: int | None
    """Elements read, those in items included; None if it is counted from what was written."""
    refused: int = 0
    """Files it could not read, or not to their end."""


@dataclass(frozen=True, slots=True)
class Method:
    """One way to read headers."""

    name: str
    title: str
    run: Callable[[str, str], Read]
    module: str | None = None
    """Python module it needs."""
    distribution: str | None = None
    """Package on the index that brings it, whose version is told."""
    command: str | None = None
    """Program it needs."""
    count: Callable[[str], int] | None = None
    """Counts the elements in what was written, outside the clock."""

    def missing(self) -> str | None:
        """Say what has to be installed for this method; None if it can run."""
        if self.module and importlib.util.find_spec(self.module) is None:
            return self.distribution or self.module
        if self.command and shutil.which(self.command) is None:
            return self.command
        return None


def paths_of(folder: str) -> list[str]:
    """List every file, in a fixed order."""
    return sorted(
        os.path.join(parent, name) for parent, _, names in os.walk(folder) for name in names
    )


class LongTable:
    """Rows of a long table on their way to one Parquet file."""

    def __init__(self, out: str, columns: dict[str, Any]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._pa = pa
        self._schema = pa.schema(list(columns.items()))
        self.columns: list[list[Any]] = [[] for _ in columns]
        self._writer = pq.ParquetWriter(
            os.path.join(out, "long.parquet"), self._schema, compression="zstd"
        )

    def mark(self) -> int:
        """Return how many rows are waiting."""
        return len(self.columns[0])

    def back_to(self, mark: int) -> None:
        """Forget the rows of a file that turned out unreadable."""
        for column in self.columns:
            del column[mark:]

    def flush(self, at_least: int = FLUSH_ROWS) -> None:
        """Write the waiting rows if they are enough."""
        if self.mark() < max(1, at_least):
            return
        self._writer.write_table(
            self._pa.table(
                [
                    self._pa.array(cells, kind)
                    for cells, kind in zip(self.columns, self._schema.types, strict=True)
                ],
                schema=self._schema,
            )
        )
        self.back_to(0)

    def close(self) -> None:
        """Write the rest."""
        self.flush(1)
        self._writer.close()


def _write_wide(out: str, columns: dict[str, list[str | None]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(columns, schema=pa.schema([(name, pa.string()) for name in columns]))
    pq.write_table(table, os.path.join(out, "wide.parquet"), compression="zstd")


def pydicom_long(folder: str, out: str) -> Read:
    """Every element, nested ones and file meta too, one row per value."""
    import pyarrow as pa
    from pydicom import dcmread

    table = LongTable(
        out,
        {
            "sop_uid": pa.string(), "path": pa.string(), "tag": pa.string(),
            "keyword": pa.string(), "vr": pa.string(), "index": pa.int32(),
            "text": pa.string(), "number": pa.float64(),
        },
    )  # fmt: skip
    sops, paths, tags, keywords, vrs, indexes, texts, numbers = table.columns
    elements = refused = 0

    def append(
        sop: str, path: str, tag: str, keyword: str, vr: str, index: int, text: str | None,
        number: float | None,
    ) -> None:  # fmt: skip
        sops.append(sop)
        paths.append(path)
        tags.append(tag)
        keywords.append(keyword)
        vrs.append(vr)
        indexes.append(index)
        texts.append(text)
        numbers.append(number)

    def walk(dataset: Any, sop: str, path: str) -> int:
        found = 0
        for element in dataset:
            found += 1
            tag = f"{element.tag.group:04X}{element.tag.element:04X}"
            keyword, vr, value = element.keyword, element.VR, element.value
            if vr == "SQ":
                append(sop, path, tag, keyword, vr, 0, None, float(len(value)))
                for number, item in enumerate(value):
                    found += walk(item, sop, f"{path}{tag}[{number}].")
                continue
            several = element.VM > 1 and not isinstance(value, (bytes, str))
            for index, part in enumerate(value if several else [value]):
                if part is None or part == "":
                    append(sop, path, tag, keyword, vr, index, None, None)
                elif isinstance(part, bytes):
                    append(sop, path, tag, keyword, vr, index, part[:256].hex(), None)
                elif isinstance(part, (int, float)):
                    append(sop, path, tag, keyword, vr, index, str(part), float(part))
                else:
                    append(sop, path, tag, keyword, vr, index, str(part), None)
        return found

    for file in paths_of(folder):
        mark = table.mark()
        try:
            dataset = dcmread(file, stop_before_pixels=True)
            sop = str(dataset.get("SOPInstanceUID", file))
            elements += walk(dataset.file_meta, sop, "") + walk(dataset, sop, "")
        except Exception:
            refused += 1
            table.back_to(mark)
        table.flush()
    table.close()
    return Read(elements, refused)


def pydicom_tags(folder: str, out: str) -> Read:
    """37 tags as text, one row per file: the usual script."""
    from pydicom import dcmread

    columns: dict[str, list[str | None]] = {name: [] for name in ("path", *TAGS)}
    elements = refused = 0
    for file in paths_of(folder):
        try:
            dataset = dcmread(file, stop_before_pixels=True, specific_tags=TAGS)
            values = [dataset.get(keyword) for keyword in TAGS]
            texts = [None if value is None else str(value) for value in values]
        except Exception:
            refused += 1
            continue
        for column, text in zip(columns.values(), (file, *texts), strict=True):
            column.append(text)
        elements += sum(text is not None for text in texts)
    _write_wide(out, columns)
    return Read(elements, refused)


def gdcm_scanner(folder: str, out: str) -> Read:
    """37 tags as text by GDCM's scanner in C++, taken out of it file by file."""
    files = paths_of(folder)
    scanner, tags = _gdcm_scan(files)
    columns: dict[str, list[str | None]] = {name: [] for name in ("path", *TAGS)}
    elements = refused = 0
    for file in files:
        if not scanner.IsKey(file):
            refused += 1
            continue
        values = [scanner.GetValue(file, tag) for tag in tags]
        for column, value in zip(columns.values(), (file, *values), strict=True):
            # Bytes that are no UTF-8 come as lone surrogates, which Arrow does not take.
            column.append(value if value is None or value.isascii() else _clean(value))
        elements += sum(value is not None for value in values)
    _write_wide(out, columns)
    return Read(elements, refused)


def gdcm_scan(folder: str, out: str) -> Read:  # noqa: ARG001
    """Run GDCM's scanner and leave everything in it: no Python value, nothing written."""
    files = paths_of(folder)
    scanner, _ = _gdcm_scan(files)
    refused = sum(not scanner.IsKey(file) for file in files)
    return Read((len(files) - refused) * len(TAGS), refused)


def _gdcm_scan(files: list[str]) -> tuple[Any, list[Any]]:
    import gdcm

    # Global is not exported by every build of the wheel.
    singleton = gdcm.GetInstance() if hasattr(gdcm, "GetInstance") else gdcm.Global.GetInstance()
    names = singleton.GetDicts().GetPublicDict()
    scanner, tags = gdcm.Scanner(), []
    for keyword in TAGS:
        tag = gdcm.Tag()
        names.GetDictEntryByKeyword(keyword, tag)
        tags.append(tag)
        scanner.AddTag(tag)
    scanner.Scan(files)
    return scanner, tags


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


def fastdicom_long(folder: str, out: str) -> Read:
    """Every value, nested ones too, through the quickest binding on the index (Rust).

    It gives no VR, no private creator, no file meta and no raw value, and one element it does not
    like loses the file.
    """
    import fastdicom
    import pyarrow as pa

    table = LongTable(
        out,
        {
            "sop_uid": pa.string(), "path": pa.string(), "tag": pa.uint32(),
            "index": pa.int32(), "text": pa.string(), "number": pa.float64(),
        },
    )  # fmt: skip
    sops, paths, tags, indexes, texts, numbers = table.columns
    elements = refused = 0

    def walk(dataset: Any, sop: str, path: str) -> int:
        found = 0
        for (group, number), value in dataset.items():
            found += 1
            tag = group << 16 | number
            for index, part in enumerate(value if type(value) is list else (value,)):
                kind = type(part)
                if kind is fastdicom.Dataset:
                    found += walk(part, sop, f"{path}{tag:08X}[{index}].")
                    continue
                sops.append(sop)
                paths.append(path)
                tags.append(tag)
                indexes.append(index)
                texts.append(
                    part if kind is str else part[:256].hex() if kind is bytes else str(part)
                )
                numbers.append(float(part) if kind is int or kind is float else None)
        return found

    for file in paths_of(folder):
        mark = table.mark()
        try:
            dataset = fastdicom.dcmread(file, stop_before_pixels=True)
            elements += walk(dataset, dataset.get("SOPInstanceUID", file), "")
        except Exception:
            refused += 1
            table.back_to(mark)
        table.flush()
    table.close()
    return Read(elements, refused)


DCMDUMP_FILES = 500
"""Files per process of dcmdump."""

_DUMPED = re.compile(rb"^ *\((?!fffe,)[0-9a-f]{4},[0-9a-f]{4}\)", re.MULTILINE)


def dcmdump(folder: str, out: str) -> Read:
    """Dump every element as text with dcmtk, 500 files per process."""
    files = paths_of(folder)
    refused = 0
    with open(os.path.join(out, "dump.txt"), "wb") as sink:
        for start in range(0, len(files), DCMDUMP_FILES):
            done = subprocess.run(
                ["dcmdump", "-M", "+sb", "7fe0,0010", *files[start : start + DCMDUMP_FILES]],
                stdout=sink,
                stderr=subprocess.PIPE,
                check=False,
            )
            refused += done.stderr.count(b"reading file:")
    return Read(None, refused)


def count_dumped(out: str) -> int:
    """Count the elements in a dump, delimiters and items aside."""
    with open(os.path.join(out, "dump.txt"), "rb") as dump:
        return sum(1 for line in dump if _DUMPED.match(line))


METHODS = [
    Method(
        "pydicom_long", "pydicom → long rows → Parquet: every element", pydicom_long,
        "pydicom", "pydicom",
    ),
    Method(
        "pydicom_tags", "pydicom, 37 tags → wide Parquet", pydicom_tags, "pydicom", "pydicom",
    ),
    Method(
        "gdcm_scanner", "GDCM Scanner, 37 tags → wide Parquet", gdcm_scanner,
        "gdcm", "python-gdcm",
    ),
    Method(
        "gdcm_scan", "GDCM Scanner, 37 tags, kept in C++: nothing written", gdcm_scan,
        "gdcm", "python-gdcm",
    ),
    Method(
        "fastdicom_long", "fastdicom → long rows → Parquet: no VR, no file meta", fastdicom_long,
        "fastdicom", "fastdicom",
    ),
    Method(
        "dcmdump", "dcmtk dcmdump: every element → text", dcmdump,
        command="dcmdump", count=count_dumped,
    ),
]  # fmt: skip
