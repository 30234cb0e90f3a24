"""Data frames of the caller (Polars, pandas, pyarrow) as tables of a query.

In: variables of the caller, or registered frames. Out: the frames that DuckDB can read.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from warehouse.errors import UsageError
from warehouse.sqlfiles import read_models

if TYPE_CHECKING:
    from collections.abc import Mapping

    import duckdb

_KINDS = {
    ("polars", "DataFrame"), ("polars", "LazyFrame"), ("pandas", "DataFrame"),
    ("pyarrow", "Table"), ("pyarrow", "RecordBatch"), ("pyarrow", "Dataset"),
    ("pyarrow", "FileSystemDataset"), ("pyarrow", "InMemoryDataset"), ("pyarrow", "UnionDataset"),
}  # fmt: skip
"""Package and class names of frames, compared as text so that no package must be imported."""
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


def frames_among(*scopes: Mapping[str, object]) -> dict[str, object]:
    """Return the variables that are frames; later scopes shadow earlier ones."""
    return {name: value for scope in scopes for name, value in scope.items() if _is_frame(value)}


def checked(name: str, frame: object) -> object:
    """Return a frame after checking its type, and that its name is valid in SQL.

    Raises
    ------
    UsageError
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a table; use letters, digits and _")
    if name.lower() in {model.name for model in read_models()}:
        raise UsageError(f"the warehouse has a table {name}; register the frame with another name")
    if not _is_frame(frame):
        raise UsageError(
            f"{type(frame).__name__} is not a table; register a DataFrame or LazyFrame of Polars, "
            "a DataFrame of pandas, or a Table or Dataset of pyarrow"
        )
    return frame


def relation(
    session: duckdb.DuckDBPyConnection, query: str, params: object, frames: Mapping[str, object]
) -> Any:
    """Return the relation of a query that may name these frames, but no other Python objects.

    DuckDB looks up unknown tables among the variables of the calling function. Therefore the call
    is made in a scope that has only the frames and the call itself.
    """
    call = "__session__.sql(__query__, params=__params__)"
    scope = {**frames, "__session__": session, "__query__": query, "__params__": params}
    return eval(call, {"__builtins__": {}}, scope)  # noqa: S307 - a constant


def _is_frame(value: object) -> bool:
    return any(
        (kind.__module__.partition(".")[0], kind.__name__) in _KINDS for kind in type(value).__mro__
    )
