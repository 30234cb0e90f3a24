"""Convert a header to the DICOM JSON model (PS3.18 Annex F).

In: elements in order. Out: a dictionary that can be written as valid JSON. The result equals that
of pydicom's ``Dataset.to_json_dict``, except where the standard requires otherwise:

- an empty value among several is null (PS3.18 F.2.5); pydicom writes an empty text or name
- a name has only non-empty component groups (F.2.2); pydicom writes an empty ``Alphabetic``
- an empty sequence has no ``Value`` (F.2.5); pydicom writes an empty list

NaN and infinity are null, because JSON has no such numbers. Like pydicom, and unlike F.2.2, the
model includes group lengths, so that it has every element of the header. File meta information is
not part of the model. Binary values are inline if their bytes are available, else references.
"""

from __future__ import annotations

import base64
import json
import math
from typing import TYPE_CHECKING, Any

from warehouse.elements.values import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.catalog.header_element import HeaderElement, Stored

_PN_GROUPS = {"alphabetic": "Alphabetic", "ideographic": "Ideographic", "phonetic": "Phonetic"}


def json_model(elements: Iterable[HeaderElement], bulk_uri: str) -> dict[str, Any]:
    """Return the attributes of a data set or item by tag.

    Parameters
    ----------
    elements
        Elements of one data set.
    bulk_uri
        URI for values whose bytes are stored only in the source file.
    """
    return {e.tag: _attribute(e, bulk_uri) for e in elements if not e.tag.startswith("0002")}


def _attribute(element: HeaderElement, bulk_uri: str) -> dict[str, Any]:
    attribute: dict[str, Any] = {"vr": element.vr}
    first = element.values[0] if element.values else None
    if element.vr == "SQ" and (first is None or first.length is None):
        if element.items:
            attribute["Value"] = [json_model(item, bulk_uri) for item in element.items]
    elif first is not None and (element.vr in BINARY or _is_only_bytes(first)):
        if first.bytes is not None:
            attribute["InlineBinary"] = base64.b64encode(first.bytes).decode("ascii")
        else:
            # A value in `blobs` is referenced by its digest, pixel data by the URI of the instance.
            attribute["BulkDataURI"] = f"urn:sha256:{first.sha256}" if first.sha256 else bulk_uri
    elif first is not None:
        attribute["Value"] = [_value(element.vr, value) for value in element.values]
    return attribute


def _is_only_bytes(value: Stored) -> bool:
    return value.length is not None and value.text is None


def _value(vr: str, value: Stored) -> Any:
    if value.real is not None and not math.isfinite(value.real):
        return None
    if vr == "PN":
        return _person_name(value.text) if value.text else None
    if vr == "UV" and value.text:
        return int(value.text)
    if vr in {"IS", "US", "SS", "UL", "SL", "SV"} and value.integer is not None:
        return value.integer
    if vr in {"DS", "FL", "FD"} and value.real is not None:
        return value.real
    return value.text or None


def _person_name(components: str) -> dict[str, str] | None:
    written = {group: "^".join(parts.values()) for group, parts in json.loads(components).items()}
    return {_PN_GROUPS[group]: name for group, name in written.items() if name} or None
