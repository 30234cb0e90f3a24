"""Erase members from runs, and identifiers from the SQL of runs and saved cohorts.

In: the folder of a warehouse, and a function that recognizes erased identifiers. Out: the changes.
A run keeps its digest and counts, and records how many members it lost, for `verify` and `diff`. In
SQL, each erased identifier is replaced by 'forgotten'.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from warehouse.cohorts.definitions import FOLDER
from warehouse.cohorts.runs import ABOUT, LEVELS, MEMBERS, read_run, runs_folder
from warehouse.store.whole import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from warehouse.cohorts.runs import Run

    Erased = Callable[[str, str], bool]
    """Arguments: a level and a key. Returns whether that entity is erased."""

WORD = "forgotten"
_LITERAL = re.compile(r"'((?:[^']|'')*)'|([\w.^:-]{6,})")
"""A string literal in SQL, or a word of at least six characters; shorter words are ambiguous."""


def erase_in_runs(root: Path, is_erased: Erased) -> tuple[dict[str, int], int]:
    """Remove erased members from runs, and erased identifiers from their SQL.

    Returns
    -------
    tuple
        Run → number of members that it lost; and the number of runs and saved cohorts whose SQL has
        changed.
    """
    lost: dict[str, int] = {}
    asked = 0
    for path in sorted(runs_folder(root).glob(f"[!.]*/{ABOUT}")):
        run = read_run(root, path)
        kept, gone = _members_kept(path.parent / MEMBERS, is_erased)
        about = _about(run, is_erased)
        is_other = about != run
        if gone:
            # Counted from all members, not added, so that a call after a kill states the same.
            about = replace(about, forgotten=run.counts["instances"] - kept.num_rows)
        if about != run:
            text = json.dumps(asdict(about), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
            _write(path, text.encode())
        if gone:
            # After the number, without which `verify` would take the missing members for damage.
            sink = pa.BufferOutputStream()
            pq.write_table(kept, sink, compression="zstd")
            _write(path.parent / MEMBERS, sink.getvalue().to_pybytes())
            lost[run.run] = gone
        asked += is_other
    for path in sorted((root / FOLDER).glob("*.sql")):
        text = path.read_text(encoding="utf-8")
        if (cleaned := _without(text, is_erased)) != text:
            _write(path, cleaned.encode())
            asked += 1
    return lost, asked


def _members_kept(path: Path, is_erased: Erased) -> tuple[pa.Table, int]:
    """Return the members that are not erased, and the number of the others."""
    if not path.is_file():
        return pa.table({}), 0
    with pq.ParquetFile(path) as parquet:
        rows = parquet.read()
    stays = pa.chunked_array([pa.array([True] * rows.num_rows, pa.bool_())])
    for level in LEVELS:
        column = rows[f"{level}_key"]
        keys = [key for key in column.unique().to_pylist() if key and is_erased(level, key)]
        stays = pc.and_(stays, pc.invert(pc.is_in(column, pa.array(keys, column.type))))
    kept = rows.filter(stays)
    return kept, rows.num_rows - kept.num_rows


def _about(run: Run, is_erased: Erased) -> Run:
    def cleaned(value: Any) -> Any:
        if isinstance(value, list):
            return [cleaned(each) for each in value]
        return WORD if isinstance(value, str) and _is_named(value, is_erased) else value

    given = {name: cleaned(value) for name, value in run.parameters.items()}
    about = replace(run, sql=_without(run.sql, is_erased), parameters=given)
    return replace(about, is_redacted=run.is_redacted or about != run)


def _without(sql: str, is_erased: Erased) -> str:
    def cleaned(found: re.Match[str]) -> str:
        text, word = found[1], found[2]
        if word is not None:
            return WORD if _is_named(word, is_erased) else word
        return f"'{WORD}'" if _is_named(text.replace("''", "'"), is_erased) else found[0]

    return _LITERAL.sub(cleaned, sql)


def _is_named(text: str, is_erased: Erased) -> bool:
    return any(is_erased(level, text.strip()) for level in (*LEVELS, "name"))


def _write(path: Path, content: bytes) -> None:
    """Replace a read-only file atomically; the new file is read-only, too."""
    write_whole(path, content, f"{path.parent.name}/{path.name}", keep_mode=True)
