"""Rows of the long table, made one by one: what the columns of the library are compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from warehouse.dicom.element import keyword_of
from warehouse.elements.element_values import element_values
from warehouse.elements.schema import BLOBS, ELEMENTS, INLINE_BYTES, ORDER
from warehouse.elements.values import Value

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.dicom.element import Element

_NAMES = ELEMENTS.names


class RowBuilder:
    """Collects rows until ``take``; memory grows with the number of rows, not of files."""

    def __init__(self) -> None:
        self._columns: list[list[Any]] = [[] for _ in _NAMES]
        self._blobs: dict[str, bytes] = {}
        self.blob_bytes = 0

    def __len__(self) -> int:
        return len(self._columns[0])

    def add(self, instance_id: int, elements: Iterable[Element]) -> None:
        """Append the rows of one instance."""
        rows: list[tuple[Any, ...]] = []
        for element in elements:
            fixed = (
                instance_id, element.path, element.tag, keyword_of(element.tag), element.vr,
                element.creator,
            )  # fmt: skip
            values = element_values(element)
            count = element_vm(element, values)
            for index, value in enumerate(values or (Value(),)):
                rows.append((*fixed, count, index, *value))
            if element.raw is not None and len(element.raw) > INLINE_BYTES:
                self._keep(element.raw, values)
        for column, cells in zip(self._columns, zip(*rows, strict=True), strict=bool(rows)):
            column.extend(cells)

    def _keep(self, raw: bytes, values: list[Value]) -> None:
        digest = values[0].sha256 if values else None
        if digest is not None and digest not in self._blobs:
            self._blobs[digest] = raw
            self.blob_bytes += len(raw)

    def take(self) -> tuple[pa.Table, pa.Table]:
        """Return the rows and long binary values so far, and start over."""
        plain = pa.table(
            [
                pa.array(cells, kind.value_type if pa.types.is_dictionary(kind) else kind)
                for cells, kind in zip(self._columns, ELEMENTS.types, strict=True)
            ],
            names=_NAMES,
        )
        rows = plain.sort_by([(name, "ascending") for name in ORDER]).cast(ELEMENTS)
        blobs = pa.table(
            {
                "sha256": list(self._blobs),
                "length": [len(raw) for raw in self._blobs.values()],
                "bytes": list(self._blobs.values()),
            },
            schema=BLOBS,
        )
        self._columns = [[] for _ in _NAMES]
        self._blobs = {}
        self.blob_bytes = 0
        return rows, blobs


def element_vm(element: Element, values: list[Value]) -> int:
    """Return the value multiplicity: 1 for a sequence with items, as PS3.5 §7.5 has it."""
    return 1 if element.raw is None and values else len(values)
