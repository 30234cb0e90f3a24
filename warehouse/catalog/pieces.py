"""Files of materialized views: the index of a cache folder, and reuse by the next version.

In: the folder of an older version, and the removed and added rows. Out: files in the folder of a
new version. A materialized view consists of several files, its pieces. A piece without removed rows
is reused by a hard link. Added rows become a new piece, into which small pieces are merged. So an
ingest writes an amount of data in proportion to what it adds, and a reader opens only a few files.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.catalog.spans import TABLES, Spans, note_spans, read_spans
from warehouse.store.duck import ROW_GROUP_ROWS, copy_to

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import duckdb

    from warehouse.sqlfiles import Model

_NOTE = "answers.json"
"""View → its pieces."""

_NAME = re.compile(r"[a-z_]+-[0-9a-f]{32}\.parquet")

GROWTH = 4
"""A new piece is merged with pieces of up to this many times its rows. With a larger value, a
reader opens fewer files but each row is written more often. With 4, 213,000 series added 425 at a
time are in 3 files on average and 5 at most, and each row was written 8 times."""

MOST_ROWS = ROW_GROUP_ROWS
"""Maximum number of rows in a merged piece, which limits how much one ingest has to write."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A Parquet file with some rows of a materialized view."""

    name: str
    rows: int
    size_bytes: int


Pieces = dict[str, list[Piece]]
"""View → the files of its rows."""


def read_pieces(folder: Path) -> Pieces | None:
    """Return the pieces in a folder; None if they are missing or incomplete."""
    try:
        noted = json.loads((folder / _NOTE).read_text("utf-8"))
        pieces = {view: [Piece(*piece) for piece in some] for view, some in noted.items()}
        for piece in (piece for some in pieces.values() for piece in some):
            size = os.stat(f"{folder}/{piece.name}").st_size
            if not _NAME.fullmatch(piece.name) or size != piece.size_bytes:
                return None
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    return pieces


@dataclass(frozen=True, slots=True)
class Answers:
    """The materialized views of a version, and the parts that they were derived from."""

    folder: Path
    pieces: Pieces
    spans: dict[str, Spans]
    """Table → its parts, with the range of instance ids of each."""


def read_answers(folder: Path) -> Answers | None:
    """Return the materialized views in a folder; None if they are missing or incomplete."""
    pieces = read_pieces(folder)
    try:
        spans = {table: read_spans(folder, table) for table in TABLES}
    except (OSError, ValueError, TypeError):
        return None
    return None if pieces is None else Answers(folder, pieces, spans)


def note_answers(answers: Answers) -> None:
    """Write the index of a folder."""
    for table, spans in answers.spans.items():
        note_spans(answers.folder, table, spans)
    rows: dict[str, list[list[Any]]] = {
        view: [[piece.name, piece.rows, piece.size_bytes] for piece in some]
        for view, some in answers.pieces.items()
    }
    (answers.folder / _NOTE).write_text(json.dumps(rows), "utf-8")


def paths(folder: Path, pieces: Iterable[Piece]) -> list[str]:
    """Return the paths of pieces, largest first: DuckDB estimates all files by the first one."""
    return [
        f"{folder}/{piece.name}"
        for piece in sorted(pieces, key=lambda piece: (-piece.rows, piece.name))
    ]


def write_piece(
    connection: duckdb.DuckDBPyConnection, view: str, select: str, draft: Path
) -> Piece:
    """Write the result of a SELECT as a piece of a materialized view.

    Raises
    ------
    WriteFailed
    """
    part = copy_to(connection, select, draft, f"{view}-{uuid.uuid4().hex}.parquet")
    return Piece(part.path, part.rows, part.size_bytes)


def _link(piece: Piece, folder: Path, draft: Path) -> Piece:
    """Link a piece into another folder; copy it if the file system has no links."""
    try:
        os.link(folder / piece.name, draft / piece.name)
    except OSError:
        shutil.copyfile(folder / piece.name, draft / piece.name)
    return piece


def link_all(pieces: Pieces, folder: Path, draft: Path) -> Pieces:
    """Link all pieces into another folder."""
    return {view: [_link(piece, folder, draft) for piece in some] for view, some in pieces.items()}


def to_be_merged(sizes: Mapping[str, int], rows: int) -> list[str]:
    """Return the small pieces to merge with a new one.

    Parameters
    ----------
    sizes
        Piece → its number of rows.
    rows
        Number of rows of the new piece.

    >>> to_be_merged({"a": 100_000, "b": 800, "c": 300}, 200)
    ['c', 'b']
    >>> to_be_merged({"a": 100_000, "b": 800}, 200)
    ['b']
    """
    merged = []
    for name, more in sorted(sizes.items(), key=lambda piece: (piece[1], piece[0])):
        if more > GROWTH * rows or more + rows > MOST_ROWS:
            break
        merged.append(name)
        rows += more
    return merged


def find_known(
    connection: duckdb.DuckDBPyConnection, key: str, before: list[str], columns: Sequence[str]
) -> None:
    """Create the table ``known``: rows of the older version whose key is in the table ``touched``.

    The column ``piece`` is the file of each row.
    """
    connection.execute("set variable before = $1", [before])
    connection.execute(
        f"create or replace temp table known as "
        f"select {', '.join(columns)}, parse_filename(filename) as piece "
        f"from read_parquet(getvariable('before'), filename = true) as old "
        f"semi join touched on {_same(key)}"
    )


def _same(key: str) -> str:
    """Return the condition of a join with `touched`; null keys match, too."""
    is_same = "=" if key == "instance_id" else "is not distinct from"
    return f"old.{key} {is_same} touched.{key}"


def reuse_pieces(
    connection: duckdb.DuckDBPyConnection, model: Model, before: Answers, draft: Path
) -> list[Piece]:
    """Write a materialized view from its older pieces and three tables; return the new pieces.

    Rows whose key (first column of the grain) is in the table ``touched`` are removed; ``known``
    has the pieces they are in, and ``asked`` has the rows to add.
    """
    view, key, order = model.name, model.grain[0], ", ".join(model.grain)
    folder = before.folder
    ((rows,),) = connection.execute("select count(*) from asked").fetchall()
    gone = dict(connection.execute("select piece, count(*) from known group by piece").fetchall())
    left = {piece.name: piece.rows - gone.get(piece.name, 0) for piece in before.pieces[view]}
    merged = to_be_merged(left, rows)
    pieces = []

    def select(names: list[str]) -> str:
        connection.execute("set variable before = $1", [[f"{folder}/{name}" for name in names]])
        return (
            f"select old.* from read_parquet(getvariable('before')) as old "
            f"anti join touched on {_same(key)}"
        )

    for piece in before.pieces[view]:
        if piece.name in merged:
            continue
        if piece.name not in gone:
            pieces.append(_link(piece, folder, draft))
        elif left[piece.name]:
            changed = f"{select([piece.name])} order by {order}"
            pieces.append(write_piece(connection, view, changed, draft))
    # A view must read at least one file.
    if rows or merged or not pieces:
        came = f"{select(merged)} union all from asked" if merged else "from asked"
        pieces.append(write_piece(connection, view, f"{came} order by {order}", draft))
    return pieces
