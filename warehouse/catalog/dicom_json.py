"""Elements of a header → the DICOM JSON model (PS3.18 Annex F).

In: elements in order. Out: a dictionary as pydicom's ``Dataset.to_json_dict`` gives, which is the
oracle, also where it is wider than the standard: group lengths, which PS3.18 F.2.2 excludes, are
kept, so that the model of a header has every element of it. File meta information is no part of the
model. Binary values are inline if their bytes are at hand, else references.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from warehouse.elements.values import BINARY

if TYPE_CHECKING:
    from collections.abc import Iterable

    from warehouse.catalog.header import HeaderElement, Stored

_PN_GROUPS = {"alphabetic": "Alphabetic", "ideographic": "Ideographic", "phonetic": "Phonetic"}


def json_model(elements: Iterable[HeaderElement], bulk_uri: str) -> dict[str, Any]:
    """Return the attributes of a data set or item by tag.

    Parameters
    ----------
    elements
        Elements of one data set.
    bulk_uri
        What a value refers to whose bytes are kept nowhere but in the file.
    """
    return {e.tag: _attribute(e, bulk_uri) for e in elements if not e.tag.startswith("0002")}


def _attribute(element: HeaderElement, bulk_uri: str) -> dict[str, Any]:
    attribute: dict[str, Any] = {"vr": element.vr}
    first = element.values[0] if element.values else None
    if element.vr == "SQ" and (first is None or first.length is None):
        attribute["Value"] = [json_model(item, bulk_uri) for item in element.items]
    elif first is not None and (element.vr in BINARY or _is_only_bytes(first)):
        if first.bytes is not None:
            attribute["InlineBinary"] = base64.b64encode(first.bytes).decode("ascii")
        else:
            # A value that blobs could hold is known by its digest, pixel data by their place.
            attribute["BulkDataURI"] = f"urn:sha256:{first.sha256}" if first.sha256 else bulk_uri
    elif first is not None:
        attribute["Value"] = [_value(element.vr, value) for value in element.values]
    return attribute


def _is_only_bytes(value: Stored) -> bool:
    return value.length is not None and value.text is None


def _value(vr: str, value: Stored) -> Any:
    if vr == "PN":
        return _person_name(value.text or "")
    if vr == "UV" and value.text:
        return int(value.text)
    if vr in {"IS", "US", "SS", "UL", "SL", "SV"}:
        return value.text if value.integer is None else value.integer
    if vr in {"DS", "FL", "FD"}:
        return value.text if value.real is None else value.real
    return value.text


def _person_name(components: str) -> dict[str, str]:
    groups = json.loads(components) if components else {"alphabetic": {}}
    return {
        _PN_GROUPS[group]: "^".join(parts.values())
        for group, parts in groups.items()
        if parts or group == "alphabetic"
    }
