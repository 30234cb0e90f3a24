"""A program that decompresses a tar file to standard output.

Runs without this library: it is given a file and writes bytes.
"""

import bz2
import contextlib
import gzip
import lzma
import shutil
import sys

OPENERS = ((b"\x1f\x8b", gzip.open), (b"\xfd7zXZ", lzma.open), (b"BZh", bz2.open))


def main(path: str) -> None:
    """Write the file to standard output."""
    with open(path, "rb") as file:
        head = file.read(6)
    opener = next((each for magic, each in OPENERS if head.startswith(magic)), open)
    with opener(path, "rb") as source, contextlib.suppress(BrokenPipeError):
        shutil.copyfileobj(source, sys.stdout.buffer, 1 << 20)


if __name__ == "__main__":
    main(sys.argv[1])
