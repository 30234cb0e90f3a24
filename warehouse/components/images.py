"""Read image files: MetaImage (MHA), NIfTI and TIFF.

In: a file. Out: ``Image``: its shape in the order of Grand Challenge, ``[t] [z] y x [c]``, its
type, and on request its voxels. A header is accepted only if the file has as many voxels as it
states. Images whose voxels are in another file are refused.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from warehouse.components.files import opened
from warehouse.errors import ImageRefused, NotInstalled

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_HEADER = 1 << 16
MAX_BYTES = 16 << 30
"""Largest uncompressed size of the voxels of an MHA or NIfTI image, in bytes."""

BLOCK = 16 << 20

_META_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_NIFTI_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8",
    1280: "u8",
}  # fmt: skip


_TIFF_BEGINS = frozenset({b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"})
_GZIP_BEGIN = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Image:
    """Header of an image file."""

    path: Path
    form: str
    """``mha``, ``nifti`` or ``tiff``."""
    shape: tuple[int, ...]
    """In the order ``[t] [z] y x``, slowest axis first."""
    channels: int
    dtype: np.dtype[Any]
    offset: int
    """Offset of the voxels, after decompression for ``.nii.gz``; 0 for TIFF."""
    is_compressed: bool

    @property
    def voxel_bytes(self) -> int:
        """Uncompressed size of the voxels, in bytes."""
        return math.prod(self.shape) * self.channels * self.dtype.itemsize


def read_image(path: Path) -> Image:
    """Read the header of an image, whose format is detected from its content.

    Raises
    ------
    SourceNotFound
    ImageRefused
        It has none of the three formats, or is inconsistent.
    """
    with opened(path) as file:
        head = file.read(MAX_HEADER)
        file.seek(0, 2)
        size = file.tell()
    if head[:4] in _TIFF_BEGINS:
        return _read_tiff(path)
    if head[:2] == _GZIP_BEGIN:
        with opened(path) as file, gzip.GzipFile(fileobj=file) as unpacked:
            try:
                header = unpacked.read(544)
            except (OSError, EOFError, zlib.error):
                raise ImageRefused("its gzip stream is damaged") from None
        return _require_all_voxels(_read_nifti(path, header, is_compressed=True), size)
    if len(head) >= 348 and _nifti_order(head):
        return _require_all_voxels(_read_nifti(path, head, is_compressed=False), size)
    return _require_all_voxels(_read_meta_image(path, head), size)


def suffix_of(path: Path) -> str:
    """Return the suffix of the format of a valid image, whatever the name of its file was.

    Programs that read an image choose the format by its name.
    """
    with opened(path) as file:
        head = file.read(348)
    if head[:4] in _TIFF_BEGINS:
        return ".tif"
    if head[:2] == _GZIP_BEGIN:
        return ".nii.gz"
    return ".nii" if len(head) == 348 and _nifti_order(head) else ".mha"


def _require_all_voxels(image: Image, size: int) -> Image:
    """Check that a file has as many voxels as its header states."""
    if image.voxel_bytes > MAX_BYTES:
        raise ImageRefused(f"its header states more than {MAX_BYTES >> 30} GiB of voxels")
    if not image.is_compressed:
        if size < image.offset + image.voxel_bytes:
            raise ImageRefused("its header states more voxels than the file contains")
        # NIfTI may have extensions; an MHA ends with its voxels.
        if image.form == "mha" and size != image.offset + image.voxel_bytes:
            raise ImageRefused("its header states another number of voxels than the file contains")
        return image
    voxel_bytes = sum(len(block) for block in blocks(image))
    if voxel_bytes != image.voxel_bytes:
        raise ImageRefused("its header states another number of voxels than the file contains")
    return image


def _read_meta_image(path: Path, head: bytes) -> Image:
    fields: dict[str, str] = {}
    offset = 0
    while "ElementDataFile" not in fields:
        end = head.find(b"\n", offset)
        line = head[offset : max(end, offset)].decode("latin-1")
        key, equals, value = line.partition("=")
        if end < 0 or not equals:
            raise ImageRefused("it is not a MetaImage (MHA), NIfTI or TIFF image")
        fields[key.strip()] = value.strip()
        offset = end + 1
    if fields["ElementDataFile"] != "LOCAL":
        raise ImageRefused("its voxels are in another file, which is not read; save it as one .mha")
    try:
        sizes = [int(number) for number in fields["DimSize"].split()]
        count = int(fields["NDims"])
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        skipped = int(fields.get("HeaderSize", "0"))
        dtype = np.dtype(_META_TYPES[fields["ElementType"]])
    except (KeyError, ValueError):
        raise ImageRefused("its header lacks a size or a type, or they are invalid") from None
    if not 2 <= count <= 4 or len(sizes) != count or min(sizes) < 1:
        raise ImageRefused("it must have two to four dimensions, each of at least one voxel")
    if channels not in range(1, 17) or skipped != 0:
        raise ImageRefused("its header has an unsupported number of channels or header size")
    is_stated = "BinaryDataByteOrderMSB" in fields
    if _is_true(fields, "BinaryDataByteOrderMSB" if is_stated else "ElementByteOrderMSB"):
        dtype = dtype.newbyteorder(">")
    if "BinaryData" in fields and not _is_true(fields, "BinaryData"):
        raise ImageRefused("its voxels are stored as text, which is not supported")
    is_compressed = _is_true(fields, "CompressedData")
    return Image(path, "mha", tuple(sizes[::-1]), channels, dtype, offset, is_compressed)


def _is_true(fields: dict[str, str], name: str) -> bool:
    """Return whether a field is true, by its first character as in ITK: ``True``, ``T`` or 1."""
    return fields.get(name, "")[:1] in {"T", "t", "1"}


def _nifti_order(head: bytes) -> str:
    for order in "<>":
        (size,) = struct.unpack_from(f"{order}i", head)
        if size == 348 and head[344:348] in {b"n+1\0", b"ni1\0"}:
            return order
        if size == 540 and head[4:8] in {b"n+2\0", b"ni2\0"}:
            return order
    return ""


def _read_nifti(path: Path, head: bytes, *, is_compressed: bool) -> Image:
    order = _nifti_order(head) if len(head) >= 348 else ""
    if not order:
        raise ImageRefused("it is not a MetaImage (MHA), NIfTI or TIFF image")
    if struct.unpack_from(f"{order}i", head)[0] == 348:
        dims = struct.unpack_from(f"{order}8h", head, 40)
        (code,) = struct.unpack_from(f"{order}h", head, 70)
        offset = struct.unpack_from(f"{order}f", head, 108)[0]
        scaling = struct.unpack_from(f"{order}2f", head, 112)
        magic = head[344:347]
    else:
        (code,) = struct.unpack_from(f"{order}h", head, 12)
        dims = struct.unpack_from(f"{order}8q", head, 16)
        offset = struct.unpack_from(f"{order}q", head, 168)[0]
        scaling = struct.unpack_from(f"{order}2d", head, 176)
        magic = head[4:7]
    if not magic.startswith(b"n+"):
        raise ImageRefused("its voxels are in another file, which is not read; save it as one .nii")
    if code not in _NIFTI_TYPES or not 2 <= dims[0] <= 5:
        raise ImageRefused("its header has an unsupported type or number of dimensions")
    sizes = dims[1 : dims[0] + 1]
    if min(sizes) < 1:
        raise ImageRefused("it must have two to four dimensions, each of at least one voxel")
    # Four bytes follow the header; other readers disagree where the voxels begin if they overlap.
    least = struct.unpack_from(f"{order}i", head)[0] + 4
    if not math.isfinite(offset) or not least <= offset < 1 << 20:
        raise ImageRefused("its header states an invalid offset of the voxels")
    # A slope of 0 states no scaling (NIfTI-1), and so does one that is not finite, as in nibabel.
    slope, intercept = scaling
    if slope != 0 and math.isfinite(slope) and (slope != 1 or intercept != 0):
        raise ImageRefused("its voxels have a slope or an intercept; save the scaled values")
    while len(sizes) > 2 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if len(sizes) > 4:
        raise ImageRefused("it must have two to four dimensions, each of at least one voxel")
    dtype = np.dtype(f"{order}{_NIFTI_TYPES[code]}")
    return Image(path, "nifti", tuple(sizes[::-1]), 1, dtype, int(offset), is_compressed)


def _read_tiff(path: Path) -> Image:
    try:
        import tifffile  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotInstalled("reading TIFF images", "tifffile", "components") from None
    size = path.stat().st_size
    try:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            shape, axes, dtype = series.shape, series.axes, series.dtype
            ends = [
                offset + count
                for page in series.pages if page is not None
                for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True)
            ]  # fmt: skip
    except Exception:  # noqa: BLE001 - tifffile and its codecs raise any error
        raise ImageRefused("its TIFF structure is damaged") from None
    channels = 1
    if "S" in axes:  # last, or before rows if each color has its own plane
        at = axes.index("S")
        shape, channels = shape[:at] + shape[at + 1 :], int(shape[at])
    if dtype is None or not 2 <= len(shape) <= 4 or min(shape) < 1:
        raise ImageRefused("it must have two to four dimensions, each of at least one voxel")
    if not ends or max(ends) > size:
        raise ImageRefused("its header states more voxels than the file contains")
    return Image(path, "tiff", tuple(map(int, shape)), channels, np.dtype(dtype), 0, True)


def blocks(image: Image) -> Iterator[bytes]:
    """Yield the uncompressed voxels of an MHA or NIfTI image, in blocks of whole voxels.

    At most one byte more than the header states is decompressed: it shows that there are more.

    Raises
    ------
    ImageRefused
        The voxels are damaged.
    """
    remaining = image.voxel_bytes + 1
    rest = b""
    try:
        for block in _decompressed(image):
            available = rest + block[:remaining]
            remaining -= len(block[:remaining])
            end = len(available) - len(available) % image.dtype.itemsize
            yield available[:end]
            rest = available[end:]
            if remaining <= 0:
                break
    except (OSError, EOFError, zlib.error):
        raise ImageRefused("its compressed voxels are damaged") from None
    if rest:
        yield rest


def _decompressed(image: Image) -> Iterator[bytes]:
    with opened(image.path) as file:
        if image.form == "nifti" and image.is_compressed:
            with gzip.GzipFile(fileobj=file) as stream:
                stream.read(image.offset)
                yield from iter(lambda: stream.read(BLOCK), b"")
            return
        file.seek(image.offset)
        if image.is_compressed:
            yield from _inflated(file)
        else:
            yield from iter(lambda: file.read(BLOCK), b"")


def _inflated(file: IO[bytes]) -> Iterator[bytes]:
    stream = zlib.decompressobj()
    for packed in iter(lambda: file.read(1 << 20), b""):
        block = stream.decompress(packed, BLOCK)
        while block:
            yield block
            block = stream.decompress(stream.unconsumed_tail, BLOCK)
        if stream.eof:
            return


def arrays(image: Image) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the voxels of an image as flat arrays: blocks, or the tiles or strips of a TIFF.

    Raises
    ------
    ImageRefused
    """
    if image.form != "tiff":
        count = image.voxel_bytes
        for block in blocks(image):
            kept = block[:count]
            count -= len(kept)
            if len(kept) % image.dtype.itemsize:
                raise ImageRefused("its voxels are cut off")
            yield np.frombuffer(kept, image.dtype)
        return
    yield from _tiff_segments(image)


MAX_SEGMENT_BYTES = 1 << 30
"""Largest uncompressed size of a tile or strip of a TIFF, in bytes."""


def _tiff_segments(image: Image) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the tiles or strips of a TIFF one by one, as an image may be larger than memory."""
    import tifffile  # noqa: PLC0415 - an extra

    try:
        with tifffile.TiffFile(image.path) as file:
            _require_small_segments(file.series[0].keyframe, image.dtype.itemsize)
            for page in file.series[0].pages:
                for data, _, _ in page.segments(maxworkers=1) if page is not None else ():
                    if data is not None:
                        yield data.ravel()
    except ImageRefused:
        raise
    except Exception:  # noqa: BLE001 - tifffile and its codecs raise any error
        raise ImageRefused("its TIFF pages cannot be decoded; try to install imagecodecs") from None


def _require_small_segments(page: Any, itemsize: int) -> None:
    """Check that no tile or strip of a TIFF exceeds ``MAX_SEGMENT_BYTES``."""
    rows = min(page.rowsperstrip or page.imagelength, page.imagelength)
    sides = page.tile if page.is_tiled else (rows, page.imagewidth)
    if math.prod(sides) * page.samplesperpixel * itemsize > MAX_SEGMENT_BYTES:
        raise ImageRefused("a tile or strip of it is larger than 1 GiB")
