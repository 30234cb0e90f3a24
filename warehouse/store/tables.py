"""The registry of stored tables: schema, order, key and derivation of each.

In: nothing. Out: ``REGISTRY``. Columns are documented in sql/1_long. A table without its own schema
here has the columns of its SQL header, so a new table needs only an SQL file and an entry here
(CONTRIBUTING, "How to add a stored table").

Rows have one of two origins. Most are derived from files at ingest: they are removed with their
instance, and derived again when it is read again. The others were appended by people or algorithms.
An ingest cannot derive them again, so they are removed only if the entity that they are about is
erased.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from warehouse.elements.schema import BLOBS, ELEMENTS, ORDER, VENDOR_PAYLOADS, VENDOR_VALUES
from warehouse.settings import Mode
from warehouse.sqlfiles import by_name
from warehouse.stages import Stage, during
from warehouse.store.layout import ID_BITS
from warehouse.store.schema import FILES, schema_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from warehouse.elements.extract import Portion

_BITS_BELOW_BATCH = {"instance_id": ID_BITS, "payload": ID_BITS + 16}
"""Id column → number of bits of an id below the batch number."""

_KEPT = {"instance_id": "kept_rows", "payload": "kept_values"}
"""Column by which rows are removed → statement that copies a part without the removed rows."""


@dataclass(frozen=True)
class StoredTable:
    """One Delta table of a warehouse."""

    name: str
    given: pa.Schema | None = None
    """Schema of rows in memory, if it differs from the columns of the SQL header."""
    order: tuple[str, ...] = ()
    """Columns by which the rows of a part are sorted: text or integers, never missing."""
    goes_with: str | None = None
    """``instance_id``: rows are removed with their instance; ``payload``: with the last instance
    that has the payload."""
    derive: Callable[[Portion, Mode], Mapping[str, pa.Table]] | None = None
    """Function that derives the rows of files that were read together, in ``order``, for this table
    and possibly others; runs in workers. The ingest derives the rows of the first tables itself."""
    is_appended: bool = False
    """Whether rows are added by ``append_rows`` and kept, rather than derived from files."""
    without_erased: str | None = None
    """For appended rows: statement in sql/ingest that copies a part without rows about erased
    instances; None if rows are not about instances."""
    names_file: str | None = None
    """Column with digests of files below ``values/``; sql/components/named_values.sql determines
    which of them are kept."""
    is_long: bool = False
    """Whether the table has many rows and is written like the long table."""
    searched: tuple[str, ...] = ()
    """Columns of a long table by whose statistics queries skip row groups."""
    part_size: int = 1_000_000
    """Largest size of a merged part, in rows; in bytes if values are long."""
    rows_at_once: int = 100_000
    """Rows in memory when parts are merged."""
    has_long_values: bool = False
    is_of_one_batch: bool = False
    """Whether the batch of a row follows only from the partition, so parts have one batch."""

    # Cached because every commit needs the schemas of all tables.
    @cached_property
    def schema(self) -> pa.Schema:
        """Columns of rows in memory, without the partition column ``batch``."""
        return self.given or schema_of(by_name(self.name))

    @cached_property
    def stored_schema(self) -> pa.Schema:
        """Columns as engines see them in Parquet, without dictionary types."""
        schema = self.schema
        if not any(pa.types.is_dictionary(field.type) for field in schema):
            return schema
        return pa.schema(
            (
                field.name,
                field.type.value_type if pa.types.is_dictionary(field.type) else field.type,
            )
            for field in schema
        )

    @property
    def key(self) -> tuple[str, ...]:
        """Columns that identify a row: the grain in the header of the SQL."""
        return by_name(self.name).grain

    @property
    def batch_in(self) -> tuple[str, int] | None:
        """Column whose upper bits are the batch number, and the number of bits below it.

        Parts of such tables may have rows of several batches; their folder is that of the first.
        """
        if self.goes_with is None:
            return None
        return self.goes_with, _BITS_BELOW_BATCH[self.goes_with]

    @property
    def without_gone(self) -> str:
        """Statement of sql/ingest/ that copies a part without the removed rows."""
        return _KEPT[self.goes_with or ""]

    @property
    def is_staged(self) -> bool:
        """Whether workers write its parts; the commit adds them without rows of duplicates."""
        return self.goes_with is not None and self.name != "instances"


def _vendor(portion: Portion, mode: Mode) -> dict[str, pa.Table]:
    """Derive the rows of the vendor payload tables.

    All elements are read: values of payloads are stored in every mode that stores elements, even if
    the mode does not store the private elements that contain the payloads.
    """
    if mode is Mode.MINIMAL or not portion.rows.num_rows:
        return {}
    # Imported here because queries do not need it, and the import is slow.
    from warehouse.elements.vendor import vendor_rows  # noqa: PLC0415

    with during(Stage.VENDOR):
        payloads, values = vendor_rows(portion)
    return {"vendor_payloads": payloads, "vendor_values": values}


REGISTRY: tuple[StoredTable, ...] = (
    StoredTable(
        "elements", ELEMENTS, ORDER, goes_with="instance_id", is_long=True,
        searched=("instance_id", "path", "tag", "keyword"), part_size=8_000_000,
        rows_at_once=1_000_000,
    ),
    StoredTable("blobs", BLOBS, has_long_values=True, part_size=256 << 20, rows_at_once=512),
    StoredTable(
        "vendor_payloads", VENDOR_PAYLOADS, ("instance_id",), goes_with="instance_id",
        derive=_vendor, part_size=8_000_000, rows_at_once=500_000,
    ),
    StoredTable(
        "vendor_values", VENDOR_VALUES, ("name", "index", "payload"), goes_with="payload",
        derive=_vendor, is_long=True, searched=("payload", "name"), part_size=8_000_000,
        rows_at_once=1_000_000,
    ),
    StoredTable(
        "instances", order=("instance_id",), goes_with="instance_id", part_size=500_000,
        rows_at_once=50_000,
    ),
    StoredTable("socket_versions", order=("slug", "version"), is_appended=True),
    StoredTable(
        "socket_values", order=("slug", "value_id"), is_appended=True,
        without_erased="kept_of_values", names_file="sha256",
    ),
    StoredTable(
        "value_uses", order=("value_id", "use_id"), is_appended=True, without_erased="kept_uses"
    ),
    StoredTable(
        "annotations", order=("value_id", "index"), is_appended=True,
        without_erased="kept_of_values", part_size=8_000_000, rows_at_once=100_000,
    ),
    StoredTable(
        "value_set_entries", order=("entry",), is_appended=True, without_erased="kept_entries"
    ),
    StoredTable("algorithm_interfaces", order=("interface_id",), is_appended=True),
    StoredTable(
        "artifact_events", order=("artifact_id", "event"), is_appended=True,
        names_file="file_sha256",
    ),
    StoredTable("algorithm_versions", order=("algorithm", "version"), is_appended=True),
    StoredTable("algorithm_matching", order=("algorithm", "version", "place"), is_appended=True),
    StoredTable(
        "job_specs", order=("algorithm", "job_id"), is_appended=True, without_erased="kept_of_jobs"
    ),
    StoredTable(
        "job_events", order=("job_id", "event"), is_appended=True, without_erased="kept_of_jobs",
        rows_at_once=20_000,
    ),
    StoredTable(
        "measured_segments", order=("instance_key", "state", "SegmentNumber"), is_appended=True,
        without_erased="kept_measured",
    ),
    StoredTable("files", FILES, ("path",), is_of_one_batch=True, rows_at_once=200_000),
)  # fmt: skip
"""The stored tables in commit order; ``files`` is last, because it makes a version visible."""

FIRST = frozenset({"elements", "blobs", "vendor_payloads", "vendor_values", "instances", "files"})
"""Tables that every warehouse has from its version 0 on. Never add to this list: other tables are
created in a warehouse by the first commit of a software version that has them."""


def names() -> tuple[str, ...]:
    """Return the names of the stored tables in commit order."""
    return tuple(table.name for table in REGISTRY)


def named(name: str) -> StoredTable:
    """Return the stored table of this name."""
    return next(table for table in REGISTRY if table.name == name)


def searched_columns() -> frozenset[str]:
    """Return the columns by whose statistics queries skip row groups of long tables."""
    return frozenset(column for table in REGISTRY if table.is_long for column in table.searched)


def id_columns() -> frozenset[str]:
    """Return the id columns of long tables, which ascend within each tag or name."""
    return frozenset(table.batch_in[0] for table in REGISTRY if table.is_long and table.batch_in)
