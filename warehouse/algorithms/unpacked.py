"""Program that decompresses a file (gzip, xz, bzip2 or none) to standard output.

It does not import this library.
"""

import bz2
import contextlib
import gzip
import lzma
import shutil
import sys

OPENERS = ((b"\x1f\x8b", gzip.open), (b"\xfd7zXZ", lzma.open), (b"BZh", bz2.open))


def main(path: str) -> None:
    """Write the decompressed content of a file to standard output."""
    with open(path, "rb") as file:
        head = file.read(6)
    opener = next((each for magic, each in OPENERS if head.startswith(magic)), open)
    with opener(path, "rb") as source, contextlib.suppress(BrokenPipeError):
        shutil.copyfileobj(source, sys.stdout.buffer, 1 << 20)


if __name__ == "__main__":
    main(sys.argv[1])
