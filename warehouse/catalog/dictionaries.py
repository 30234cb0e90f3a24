"""Provide dictionaries and rules to SQL, as macros and variables of DuckDB.

Data that is the same in every warehouse is a macro without parameters, created once with the views
(``catalog.template``). It is a constant, because a macro must know types before its query runs
(``sql/0_macros/attribute_tag.sql``), and text with one line per entry and tabs between fields,
because creating ten thousand structs takes ten times as long. Data added by users is in variables
of the connection: ``private_dictionary`` for the view ``private_names``, and ``sequence_rules`` for
the view of that name.
"""

from __future__ import annotations

import csv
import io
import json
from functools import cache, lru_cache
from typing import TYPE_CHECKING

from warehouse.dicom.dictionary import elements, repeaters
from warehouse.dicom.private_names import Dictionary, pydicom_names
from warehouse.inputs import read_text
from warehouse.sqlfiles import sql_folder
from warehouse.store.duck import literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import duckdb

    from warehouse.store.rules import Rule

_BREAKS = str.maketrans("\t\n\r", "   ")


def make_dictionaries(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the macros that return the dictionaries and the tables of ``sql/rules/``."""
    private = _lines((*key, entry.vr, entry.name) for key, entry in pydicom_names().items())
    for macro, text in (
        ("keyword_dictionary", _keywords()), ("pydicom_dictionary", private),
        ("component_kinds", _rules("kinds.csv")), ("default_sockets", _rules("sockets.csv")),
        ("job_state_rules", _rules("job_states.csv")),
        ("job_transition_rules", _rules("job_transitions.csv")),
        ("hardware_rules", _rules("hardware.csv")),
    ):  # fmt: skip
        connection.execute(f"create or replace macro {macro}() as {literal(text)}")
    make_confidential(connection)


def make_confidential(connection: duckdb.DuckDBPyConnection) -> None:
    """Create the macros for the attributes and sequences of PS3.15 Table E.1-1."""
    sequences, listed = _confidential()
    connection.execute(f"create or replace macro confidential_sequences() as [{sequences}]")
    # DuckDB hashes a constant list once, but searches a list in a variable for each row.
    connection.execute(f"create or replace macro is_confidential(tag) as tag in ({listed})")


@cache
def _confidential() -> tuple[str, str]:
    """Return the keywords of sequences and the tags of attributes, as SQL lists."""
    tags = [row[0] for row in rule_rows("deidentification.csv") if len(row[0]) == 8]
    known = [elements().get(int(tag, 16)) for tag in tags if "X" not in tag]
    sequences = ", ".join(literal(row[4]) for row in known if row and row[0] == "SQ")
    return sequences, ", ".join(map(literal, tags))


def private_dictionary(own: Dictionary) -> str:
    """Return the value of the variable of this name: names that override pydicom's."""
    return _lines((*key, entry.vr, entry.name) for key, entry in own.items())


def sequence_rules(rules: Sequence[Rule]) -> str:
    """Return the value of the variable of this name: JSON, one object per condition, in order."""
    return _as_json(tuple(rules))


@lru_cache(maxsize=4)  # called for every catalog, few of which have their own rules
def _as_json(rules: tuple[Rule, ...]) -> str:
    return json.dumps(
        [
            {
                "rule": rule.name, "condition": number, "position": position, "rank": rule.rank,
                "sequence_type": rule.sequence_type, "confidence": rule.confidence,
                "rule_modality": rule.modality,
                "attribute": condition.attribute, "tag": condition.tag, "test": condition.test,
                "alternatives": condition.alternatives, "source": rule.source,
            }
            for position, rule in enumerate(rules, 1)
            for number, condition in enumerate(rule.conditions, 1)
        ],
        ensure_ascii=False,
    )  # fmt: skip


def _rules(file: str) -> str:
    """Return a line per row of a table of ``sql/rules/``, without its header line."""
    return _lines(rule_rows(file))


def rule_rows(file: str) -> list[tuple[str, ...]]:
    """Return the rows of a table of ``sql/rules/``, without its header line."""
    rows = csv.reader(io.StringIO(read_text(sql_folder() / "rules" / file)))
    return [tuple(row) for row in list(rows)[1:]]


def _keywords() -> str:
    """Return a line per keyword and tag: name, tag, VR, VM."""
    # In repeating groups (overlays, curves) a keyword refers to the first group.
    rows = [
        (keyword, tag.replace("x", "0"), vr, vm)
        for tag, (vr, vm, _, _, keyword) in repeaters().items()
        if keyword
    ]
    for tag, (vr, vm, _, _, keyword) in elements().items():
        text = f"{tag:08X}"
        rows += [(name, text, vr, vm) for name in (keyword, text) if name]
    return _lines(rows)


def _lines(rows: Iterable[tuple[str, ...]]) -> str:
    """Return a line per row; tabs and line breaks in names of users are replaced by spaces."""
    return "\n".join("\t".join(text.translate(_BREAKS) for text in row) for row in rows)
