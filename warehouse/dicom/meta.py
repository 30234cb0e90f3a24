"""Parse the file meta information of many files: offset and encoding of each data set.

In: a ``Scan``. Out: the files whose data set the fast reader supports; elements of group 0002 are
recorded. Files that are big endian, deflated, without a preamble, or have a private transfer syntax
are left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pydicom.uid

from warehouse.dicom.found import tag_of
from warehouse.dicom.grammar import EXPLICIT_CLASS, LONG, LOOKS_EXPLICIT, MAX_HEADER_BYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from warehouse.dicom.state import Scan

_SYNTAXES = {
    str(uid).encode(): uid == pydicom.uid.ImplicitVRLittleEndian
    for uid in pydicom.uid.AllTransferSyntaxes
    if uid not in {pydicom.uid.ExplicitVRBigEndian, pydicom.uid.DeflatedExplicitVRLittleEndian}
}
"""Supported transfer syntaxes, and whether they are implicit VR."""


def read_meta(scan: Scan) -> NDArray[np.int64]:
    """Parse group 0002 of all files; return those whose encoding the fast reader supports."""
    heads, count = scan.heads, scan.count
    files = np.flatnonzero(
        heads.window_at[:count] - heads.base[:count] >= 132 + 2 * MAX_HEADER_BYTES
    )
    files = files[heads.halves[heads.base[files] + 128] == 0x4D434944]
    # A file that begins with file meta elements has no preamble: "DICM" is inside of a value.
    files = files[(heads.halves[heads.base[files]] & np.uint32(0xFFFF)) != 2]
    p = heads.base[files] + 132
    last = np.zeros(len(files), np.uint32)
    ready: list[NDArray[np.int64]] = []
    syntax_at: dict[int, tuple[int, int]] = {}
    while files.size:
        soft = heads.window_at[files] - MAX_HEADER_BYTES
        near = p > soft
        h = heads.words[np.where(near, 0, p)]
        t = tag_of(h)
        meta = (t >> 16) == 2
        ended = ~meta & ~near
        scan.at[files[ended]] = p[ended] - heads.base[files[ended]]
        ready.append(files[ended])
        c = EXPLICIT_CLASS[(h >> np.uint64(32)) & np.uint64(0xFFFF)]
        long = c == LONG
        length = (h >> np.uint64(48)).view(np.int64)
        length = np.where(long, heads.halves[np.where(near, 0, p + 8)], length)
        value_at = p + 8 + 4 * long
        q = value_at + length
        good = meta & ~near & (c <= LONG) & (q <= soft + MAX_HEADER_BYTES) & (t > last)
        for i in np.flatnonzero(good & (t == 0x00020010)):
            syntax_at[int(files[i])] = (int(value_at[i]), int(length[i]))
        files, p, last = files[good], q[good], t[good]
        scan.records.add(heads, files, h[good], value_at[good], length[good], files + count)
    return _start(scan, np.sort(np.concatenate(ready)) if ready else files, syntax_at)


def _start(
    scan: Scan, files: NDArray[np.int64], syntax_at: dict[int, tuple[int, int]]
) -> NDArray[np.int64]:
    """Select files by their transfer syntax."""
    heads = scan.heads
    memory = heads.arena.data
    for number in files.tolist():
        at, length = syntax_at.get(number, (0, 0))
        written = bytes(memory[at : at + length])
        if written.endswith(b"\0"):
            written = written[:-1]
        implicit = _SYNTAXES.get(written)
        if implicit is not None:
            scan.implicit[number] = implicit
            scan.syntax[number] = written.decode("ascii")
    files = files[np.array([scan.syntax[n] is not None for n in files.tolist()], bool)]
    h = heads.words[scan.at[files] + heads.base[files]]
    # A first element that looks like the other encoding, or a command set: pydicom decides.
    looks_explicit = LOOKS_EXPLICIT[(h >> np.uint64(32)) & np.uint64(0xFFFF)]
    fits: NDArray[np.bool_] = (looks_explicit != scan.implicit[files]) & (
        h & np.uint64(0xFFFF) != 0
    )
    return files[fits]
