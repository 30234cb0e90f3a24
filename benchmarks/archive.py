"""Make a large warehouse: clones of real headers, read by the product itself, piece by piece.

    python benchmarks/archive.py FOLDER                         # 1,000,000 instances
    python benchmarks/archive.py FOLDER --instances 40000

A piece is 20,000 files of 5 corpora (see ``corpus.py``) of 4,000, so that a series has about 46
instances and a million has about 20,000 series; of more than a million a piece is 100,000 files,
and the next one is made while one is ingested. Its files are removed when they are ingested, so
the disk holds two pieces at a time; the paths in ``files`` lead nowhere afterwards. An interrupted
run goes on where it stopped. The same arguments give the same rows.
"""

from __future__ import annotations

import argparse
import resource
import shutil
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from corpus import make_corpus

CORPUS_FILES = 4_000
MILLION = 1_000_000


def make_archive(
    root: Path, instances: int, scratch: Path, corpus_files: int = CORPUS_FILES
) -> None:
    """Make a warehouse of so many instances, rounded up to a piece."""
    import warehouse

    corpora = 25 if instances > MILLION else 5
    piece = corpus_files * corpora
    shelf = warehouse.open(root, create=True)
    there = 0
    if (root / "warehouse.json").exists():
        ((there,),) = shelf.sql("select count(*) from instances").fetchall()
    missing = range(there // piece, -(-instances // piece))
    with ProcessPoolExecutor(1, get_context("spawn")) as maker:
        made = (
            maker.submit(_make_piece, scratch, number, corpora, corpus_files) for number in missing
        )
        following = next(made, None)
        for number in missing:
            assert following is not None
            folder, following = following.result(), next(made, None)
            began, before = time.perf_counter(), _processor_seconds()
            report = shelf.ingest(folder, mode="full")
            took = f"{time.perf_counter() - began:.1f} s, {_processor_seconds() - before:.1f} CPU s"
            shutil.rmtree(folder)
            done = (number + 1) * piece
            print(
                f"{done:,} instances; {report.created:,} created; {took} where it is committed",
                flush=True,
            )


def _make_piece(scratch: Path, number: int, corpora: int, corpus_files: int) -> Path:
    """Write the files of a piece; return their folder."""
    folder = scratch / f"piece-{number:04d}"
    shutil.rmtree(folder, ignore_errors=True)
    for corpus in range(corpora):
        seed = number * corpora + corpus + 1
        make_corpus(
            folder / f"{corpus}", corpus_files, seed=seed, pixel_bytes=0, first=seed * 1_000
        )
    return folder


def _processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(one)[:2]) for one in who)


def main() -> None:
    """Make it and say how far it is."""
    parser = argparse.ArgumentParser(description="Make a large warehouse of cloned headers.")
    parser.add_argument("folder", type=Path, help="root of the warehouse")
    parser.add_argument("--instances", type=int, default=1_000_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        make_archive(given.folder, given.instances, Path(scratch))


if __name__ == "__main__":
    main()
