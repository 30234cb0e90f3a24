"""Dictionaries and rules as DuckDB variables, so that macros and views know them.

``keyword_names`` and ``keyword_entries`` are variables and no table because a macro must know types
before its query runs (``sql/0_macros/attribute_tag.sql``); ``private_dictionary`` is read by the
view ``private_names``, ``sequence_rules`` by the view of that name.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import pyarrow as pa
from pydicom._dicom_dict import DicomDictionary, RepeatersDictionary

from warehouse.dicom.private_names import Dictionary, pydicom_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb

    from warehouse.store.rules import Rule

NAMES = "(select list(name) from known)"
ENTRIES = "(select list({tag: tag, vr: vr, vm: vm}) from known)"
PRIVATE = "(select list(known) from known)"
RULE_SCHEMA = pa.schema(
    [
        ("rule", pa.string()), ("condition", pa.int64()), ("position", pa.int64()),
        ("rank", pa.float64()), ("sequence_type", pa.string()), ("rule_modality", pa.string()),
        ("attribute", pa.string()), ("tag", pa.string()), ("test", pa.string()),
        ("alternatives", pa.list_(pa.list_(pa.string()))), ("source", pa.string()),
    ]
)  # fmt: skip
RULES = "(select list(known) from known)"


def set_dictionaries(connection: duckdb.DuckDBPyConnection, own: Dictionary | None = None) -> None:
    """Set the variables.

    Parameters
    ----------
    connection
        Connection on which macros and views are to be made.
    own
        Names of private elements that come before pydicom's.
    """
    private = pydicom_names() | (own or {})
    columns = [
        [creator for creator, _ in private],
        [tag for _, tag in private],
        [entry.vr for entry in private.values()],
        [entry.name for entry in private.values()],
        ["user" if own and key in own else "pydicom" for key in private],
    ]
    known = pa.table(columns, names=["creator", "element", "vr", "name", "source"])
    for variable, table, query in (
        ("keyword_names", _keywords(), NAMES),
        ("keyword_entries", _keywords(), ENTRIES),
        ("private_dictionary", known, PRIVATE),
    ):
        connection.register("known", table)
        connection.execute(f"set variable {variable} = {query}")
        connection.unregister("known")


def set_rules(connection: duckdb.DuckDBPyConnection, rules: Sequence[Rule]) -> None:
    """Set the variable ``sequence_rules``.

    Parameters
    ----------
    connection
        Connection on which views are to be made.
    rules
        In the order in which they are tried.
    """
    rows = [
        {
            "rule": rule.name, "condition": number, "position": position, "rank": rule.rank,
            "sequence_type": rule.sequence_type, "rule_modality": rule.modality,
            "attribute": condition.attribute, "tag": condition.tag, "test": condition.test,
            "alternatives": condition.alternatives, "source": rule.source,
        }
        for position, rule in enumerate(rules, 1)
        for number, condition in enumerate(rule.conditions, 1)
    ]  # fmt: skip
    connection.register("known", pa.Table.from_pylist(rows, schema=RULE_SCHEMA))
    connection.execute(f"set variable sequence_rules = {RULES}")
    connection.unregister("known")


@cache
def _keywords() -> pa.Table:
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
