"""Derive rows of ``instances`` from attributes, without planning the SQL view.

In: rows of ``files``, and the result of ``warehouse.store.attributes``. Out: rows sorted by id. The
columns are defined in sql/2_entities/instances_from_elements.sql. This module derives the same rows
with Arrow, because workers do not import DuckDB, and because DuckDB needs 30 ms to plan the query
even for three files (docs/decisions/0024-what-a-commit-costs.md). Tests check that both results are
equal. Two cases are left to the SQL: instances without any UID, which are identified by their
content, and names in an unusual notation.
"""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from warehouse.errors import WriteFailed
from warehouse.sqlfiles import by_name
from warehouse.store import tables
from warehouse.store.schema import STORED_AS

if TYPE_CHECKING:
    from collections.abc import Callable

_DIRECTORY = "1.2.840.10008.1.3.10"
"""Media Storage Directory Storage: a DICOMDIR, which belongs to no patient."""

_PARTS = ("family_name", "given_name", "middle_name", "name_prefix", "name_suffix")

Name = dict[str, dict[str, str]]
"""A person name as in `elements.text`: component group → component → text."""


def instances_of(files: pa.Table, attributes: pa.Table, nameless: pa.Table) -> pa.Table:
    """Return the rows of ``instances`` of some files.

    Parameters
    ----------
    files
        ``FILES``; only ingested files have an instance.
    attributes
        Result of ``warehouse.store.attributes.gather`` for all their rows.
    nameless
        Rows of ``elements`` of the instances without a UID.

    Raises
    ------
    WriteFailed
        DuckDB ran out of memory or disk space.
    """
    ingested = files.filter(pc.equal(files["status"], "ingested"))
    rows = _with_arrow(ingested, attributes)
    return _with_sql(ingested, attributes, nameless) if rows is None else rows


def _with_arrow(files: pa.Table, attributes: pa.Table) -> pa.Table | None:
    """Return the rows; None for cases that only the SQL handles: no UID, or an unusual name."""
    place = pc.index_in(files["instance_id"], attributes["instance_id"])
    if place.null_count:
        return None
    held = attributes.take(place)
    names = [_named(held[column]) for column in ("PatientName", "ReferringPhysicianName")]
    operators = _operators(held["OperatorsName"])
    key = _first_of(
        _if_stated(held["SOPInstanceUID"]), _if_stated(held["MediaStorageSOPInstanceUID"])
    )
    if key.null_count or operators is None or None in names:
        return None
    patient_name, referring_name = (name for name in names if name is not None)
    series, study, patient = (
        _if_stated(held[column])
        for column in ("SeriesInstanceUID", "StudyInstanceUID", "PatientID")
    )
    is_file = pc.fill_null(pc.not_equal(held["MediaStorageSOPClassUID"], _DIRECTORY), True)
    missing = [column.is_null() for column in (held["SOPInstanceUID"], series, study, patient)]
    made = {
        "instance_key": key,
        "series_key": _of_file(is_file, series, _missing(key)),
        "study_key": _of_file(is_file, study, _missing(_first_of(series, key))),
        "patient_key": _of_file(is_file, patient, _missing(_first_of(study, series, key))),
        "has_missing_uid": pc.or_(pc.or_(*missing[:2]), pc.or_(*missing[2:])),
        "PatientName": patient_name(_text),
        **{part: patient_name(partial(_part, part=part)) for part in _PARTS},
        "ideographic_name": patient_name(partial(_group, group="ideographic")),
        "phonetic_name": patient_name(partial(_group, group="phonetic")),
        "ReferringPhysicianName": referring_name(_text),
        "OperatorsName": operators,
        "pulse_sequence_name": _first_of(held["PulseSequenceName"], held["ge_sequence_name"]),
    }
    schema = tables.named("instances").stored_schema
    # Avoid Table.column_names in the loop: Arrow builds a new list on each access.
    known = {
        name: column
        for table in (files, held)
        for name, column in zip(table.column_names, table.itercolumns(), strict=True)
    } | made
    columns = [known[name] for name in schema.names]
    return pa.table(columns, names=schema.names).cast(schema)


def _if_stated(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.not_equal(column, ""), column, None)


def _first_of(*columns: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.coalesce(*columns)


def _missing(key: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.binary_join_element_wise("missing:", key, "")


def _of_file(
    is_file: pa.ChunkedArray, stated: pa.ChunkedArray, otherwise: pa.ChunkedArray
) -> pa.ChunkedArray:
    return pc.if_else(is_file, _first_of(stated, otherwise), None)


# -- names --------------------------------------------------------------------------------------


def _named(
    column: pa.ChunkedArray,
) -> Callable[[Callable[[Name], str | None]], pa.ChunkedArray] | None:
    """Parse each distinct name once; return a function that creates a column of them, or None."""
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    names = [_read(text) for text in coded.dictionary.to_pylist()]
    if None in names:
        return None

    def column_of(stored_as: Callable[[Name], str | None]) -> pa.ChunkedArray:
        texts = pa.array(
            [stored_as(name) or None for name in names if name is not None], pa.string()
        )
        return pa.chunked_array([texts.take(coded.indices)])

    return column_of


def _operators(column: pa.ChunkedArray) -> pa.Array | None:
    """Return lists of names in their written form, or None."""
    lists = column.combine_chunks()
    if lists.null_count == len(lists):
        return lists
    column_of = _named(pa.chunked_array([lists.values]))
    if column_of is None:
        return None
    texts = column_of(_text).combine_chunks()
    return pa.ListArray.from_arrays(lists.offsets, texts, mask=lists.is_null())


def _read(text: str) -> Name | None:
    """Parse a name; return an empty name for null, and None if only the SQL can parse it."""
    if not text:
        return {}
    # An escaped character may be one that a database cannot store.
    if "\\" in text:
        return None
    try:
        name = json.loads(text)
    except ValueError:
        return None
    is_name = isinstance(name, dict) and all(
        isinstance(group, dict) and all(isinstance(part, str) for part in group.values())
        for group in name.values()
    )
    return name if is_name else None


def _text(name: Name) -> str:
    return "=".join("^".join(group.values()) for group in name.values())


def _group(name: Name, group: str) -> str:
    return "^".join(name.get(group, {}).values())


def _part(name: Name, part: str) -> str | None:
    return name.get("alphabetic", {}).get(part)


# -- the definition -----------------------------------------------------------------------------


def _with_sql(files: pa.Table, attributes: pa.Table, nameless: pa.Table) -> pa.Table:
    """Query the view that defines the rows."""
    # Imported here because few files need it; this keeps workers smaller.
    import duckdb  # noqa: PLC0415

    from warehouse.store.duck import lent  # noqa: PLC0415

    given = {
        "files": files.rename_columns({old: new for new, old in STORED_AS.items()}),
        "elements": nameless,
        "instance_attributes": attributes,
    }
    schema = tables.named("instances").stored_schema
    try:
        with lent() as connection:
            # The macros that the definition uses.
            connection.execute(by_name("person_name").sql)
            for name, table in given.items():
                connection.register(name, table)
            answer = connection.sql(by_name("instances_from_elements").query).to_arrow_table()
    except (duckdb.OperationalError, duckdb.FatalException, duckdb.PermissionException) as error:
        # Out of memory or disk space, or a closed database: not caused by a file.
        raise WriteFailed("rows of instances", error) from error
    rows = answer.rename_columns(STORED_AS).select(schema.names).cast(schema)
    return rows.sort_by("instance_id")
