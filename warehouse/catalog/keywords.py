"""The DICOM dictionary as a DuckDB variable, so that macros know the tag and type of a keyword.

A variable and not a table, because it must be known before a query runs: see
``sql/0_macros/attribute_tag.sql``.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

if TYPE_CHECKING:
    import duckdb

SET = (
    "set variable keywords = (select map(list(name), list({tag: tag, vr: vr, vm: vm})) from known)"
)


def set_keywords(connection: duckdb.DuckDBPyConnection) -> None:
    """Set the variable ``keywords``: keyword or tag → tag, VR and VM of the dictionary."""
    connection.register("known", _known())
    connection.execute(SET)
    connection.unregister("known")


@cache
def _known() -> pa.Table:
    # Of repeating groups (overlays, curves) a keyword means the first.
    rows = [
        (keyword, tag.replace("x", "0"), vr, vm)
        for tag, (vr, vm, _, _, keyword) in RepeatersDictionary.items()
        if keyword
    ]
    for tag, (vr, vm, _, _, keyword) in DicomDictionary.items():
        text = f"{tag:08X}"
        rows += [(name, text, vr, vm) for name in (keyword, text) if name]
    return pa.table(list(zip(*rows, strict=True)), names=["name", "tag", "vr", "vm"])
