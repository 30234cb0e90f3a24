"""Validate files of values by their content.

In: a file and the kind of its socket. Out: nothing, or ``ValueRefused``. A check reads what
identifies the format: a signature, or the directory of a ZIP file. CSV is read as a whole, and
Newick parsed. HDF5 (BIOM) is opened in a separate process, as damaged files can crash its
library.
"""

from __future__ import annotations

import codecs
import os
import re
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import IO, TYPE_CHECKING

from warehouse.components.newick import require_newick
from warehouse.errors import NotInstalled, SourceNotFound, ValueRefused, cause_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from warehouse.components.kinds import Kind

MAX_TREE_BYTES = 64 << 20
HDF5_SECONDS = 60

_CONTROLS = re.compile("[\\x00-\\x08\\x0e-\\x1f]")
_PNG = b"\x89PNG\r\n\x1a\n"
_OBJ = frozenset(
    b"v vt vn vp f l p g o s mg usemtl mtllib deg bmat step cstype curv curv2 surf parm trim hole "
    b"scrv sp end con bevel c_interp d_interp lod shadow_obj trace_obj ctech stech call".split()
)


def opened(path: Path) -> AbstractContextManager[IO[bytes]]:
    """Open a regular file for reading.

    Raises
    ------
    SourceNotFound
    ValueRefused
        It is a folder, a device or a pipe, or cannot be read.
    """
    try:
        if path.is_file():
            return path.open("rb")
        is_there = path.exists()
    except OSError as error:
        wrong, advice = cause_of(error)
        raise ValueRefused(f"the file cannot be read: {wrong}; {advice}") from None
    if not is_there:
        raise SourceNotFound(str(path))
    raise ValueRefused("it is not a regular file")


def require_file(path: Path, kind: Kind) -> None:
    """Check that a file has the format of a kind.

    Parameters
    ----------
    path
        The file; its name does not matter.
    kind
        One of the ten kinds of the family ``file``.

    Raises
    ------
    SourceNotFound, ValueRefused, NotInstalled
    """
    if kind.code == "BIOM":
        _require_biom(path)
        return
    with opened(path) as file:
        _CHECKS[kind.code](file)


def _signature_check(name: str, *signatures: bytes) -> Callable[[IO[bytes]], None]:
    def check(file: IO[bytes]) -> None:
        if not file.read(max(map(len, signatures))).startswith(signatures):
            raise ValueRefused(f"it is not a {name} file")

    return check


def _require_png(file: IO[bytes]) -> None:
    head = file.read(33)
    is_header = head.startswith(_PNG) and head[12:16] == b"IHDR" and len(head) == 33
    if not is_header or zlib.crc32(head[12:29]) != struct.unpack(">I", head[29:])[0]:
        raise ValueRefused("it is not a PNG file")


def _require_jpeg(file: IO[bytes]) -> None:
    head = file.read(4)
    if head[:3] != b"\xff\xd8\xff" or head[3:] < b"\xc0":
        raise ValueRefused("it is not a JPEG file")


def _require_mp4(file: IO[bytes]) -> None:
    head = file.read(12)
    if head[4:8] != b"ftyp" or struct.unpack(">I", head[:4])[0] < 8:
        raise ValueRefused("it is not an MP4 file")


def _require_zip(file: IO[bytes]) -> None:
    if file.read(4) not in {b"PK\x03\x04", b"PK\x05\x06"}:
        raise ValueRefused("it is not a ZIP file")
    try:
        with zipfile.ZipFile(file):
            pass
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError, OverflowError):
        raise ValueRefused("its ZIP directory cannot be read; is the file cut off?") from None


def _text(file: IO[bytes]) -> Iterator[str]:
    """Yield the text of a file in pieces; refuse control characters and text that is not UTF-8."""
    decode = codecs.getincrementaldecoder("utf-8-sig")().decode
    while True:
        block = file.read(1 << 20)
        try:
            text = decode(block, final=not block)
        except UnicodeError:
            raise ValueRefused("it is not UTF-8 text") from None
        if _CONTROLS.search(text):
            raise ValueRefused("it is not text: it contains control characters")
        yield text
        if not block:
            return


def _require_csv(file: IO[bytes]) -> None:
    if not sum(map(len, _text(file))):  # reads all: text may end with something else
        raise ValueRefused("it is empty")


def _require_obj(file: IO[bytes]) -> None:
    if b"\0" in file.read(1 << 20):
        raise ValueRefused("it is not text: it contains NUL")
    file.seek(0)
    has_vertex = False
    for line in iter(lambda: file.readline(1 << 16), b""):
        word = line.split(None, 1)[:1]
        if word and not word[0].startswith(b"#"):
            if word[0] not in _OBJ:
                raise ValueRefused("its first line is not one of a Wavefront OBJ file")
            has_vertex = True
            break
    if not has_vertex:
        raise ValueRefused("it contains no line of a Wavefront OBJ file")


def _require_newick_file(file: IO[bytes]) -> None:
    if os.fstat(file.fileno()).st_size > MAX_TREE_BYTES:
        raise ValueRefused(f"a Newick file may have at most {MAX_TREE_BYTES >> 20} MiB")
    require_newick("".join(_text(file)))


_CHECKS: dict[str, Callable[[IO[bytes]], None]] = {
    "PDF": _signature_check("PDF", b"%PDF-"),
    "SQREG": _signature_check("SQLite (SQREG)", b"SQLite format 3\0"),
    "JPEG": _require_jpeg,
    "PNG": _require_png,
    "OBJ": _require_obj,
    "MP4": _require_mp4,
    "NEWCK": _require_newick_file,
    "CSV": _require_csv,
    "ZIP": _require_zip,
}


def _require_biom(path: Path) -> None:
    with opened(path) as file:
        if file.read(8) != b"\x89HDF\r\n\x1a\n":
            raise ValueRefused("it is not an HDF5 file; save BIOM as HDF5 (version 2), not as JSON")
    program = Path(__file__).with_name("biom_check.py")
    try:
        completed = subprocess.run(  # noqa: S603 - our own program, and no shell
            [sys.executable, "-I", str(program), os.path.abspath(path)],
            capture_output=True, text=True, check=False, timeout=HDF5_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueRefused(f"it took more than {HDF5_SECONDS} s to open") from None
    if completed.returncode == 3:
        raise NotInstalled("checking BIOM files", "h5py", "components")
    if completed.returncode:
        raise ValueRefused("it is an HDF5 file, but not a BIOM table")
