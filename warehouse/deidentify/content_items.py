"""Find content items of structured reports that identify or describe the patient.

In: the elements of a content item, in their order. Out: the action for its value. The concept of a
content item is a code, so the profile, which depends on tags, would keep its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.deidentify import values
from warehouse.deidentify.profile import Action

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

CONTENT_ROOTS = frozenset(
    {0x0040A730, 0x00400555, 0x0040B020, 0x00400440, 0x00400441, 0x00400612, 0x00400620, 0x00741210,
     0x00741212, 0x300A0793}
)  # fmt: skip
"""Sequences whose items, and all items nested in them, are content items (PS3.3 10.2)."""

_CODE, _SCHEME, _NUMBER = 0x00080100, 0x00080102, 0x0040A30A
_CONCEPT, _MEASURED, _CODES = 0x0040A043, 0x0040A300, 0x0040A168
CONCEPT_AND_VALUE = frozenset({_CONCEPT, _MEASURED, _CODES})
"""Sequences that state the concept of an item, and its value."""

ACTIONS = {0x0040A160: Action("D", "structured"), 0x0040A123: Action("D", "structured")}
"""Tag → action for elements that a content item must have, instead of the profile's."""

_AGE = ("121033", "DCM")
_OF_PERSON = frozenset(
    {_AGE, ("121029", "DCM"), ("121030", "DCM"), ("121031", "DCM"), ("121032", "DCM"),
     ("27113001", "SCT"), ("50373000", "SCT"), ("301898006", "SCT"), ("60621009", "SCT"),
     ("397669002", "SCT"), ("424144002", "SCT"), ("263495000", "SCT"), ("29463-7", "LN"),
     ("3141-9", "LN"), ("8302-2", "LN"), ("3137-7", "LN"), ("8277-6", "LN"), ("39156-5", "LN"),
     ("30525-0", "LN"), ("21112-8", "LN")}
)  # fmt: skip
"""Concepts of content items that correspond to attributes of group 0010: name, ID, birth, sex, age,
weight, height, body surface, body mass index."""
_BIRTHS = frozenset({("121031", "DCM"), ("21112-8", "LN")})
_DATES = frozenset({0x0040A120, 0x0040A121, 0x0040A122})
_AGES = frozenset({_AGE, ("397669002", "SCT"), ("424144002", "SCT"), ("30525-0", "LN")})


class ContentItem:
    """State of a content item while its elements are read."""

    def __init__(self, options: Collection[str]) -> None:
        self._options = options
        self._concept = ("", "")

    def action(self, tag: int, texts: Mapping[int, str]) -> Action | None:
        """Return the action for an element of ``CONCEPT_AND_VALUE``; None for the default.

        ``texts`` are those of its first item.
        """
        if tag == _CONCEPT:
            self._concept = (texts.get(_CODE, ""), texts.get(_SCHEME, ""))
            return None
        if self._concept not in _OF_PERSON:
            return None
        if "patient" in self._options and not self._is_rare_age(texts):
            return None
        return Action("Z" if tag == _MEASURED else "D", "structured")

    def value_action(self, tag: int) -> Action | None:
        """Return the action for a date or time by its concept; None for the default.

        No option keeps Patient's Birth Date (0010,0030), so none keeps it as a content item.
        """
        if tag in _DATES and self._concept in _BIRTHS:
            return Action("D", "structured")
        return None

    def _is_rare_age(self, texts: Mapping[int, str]) -> bool:
        """Return whether the value is an age over ``OLDEST_YEARS``, or one that cannot be read."""
        if self._concept not in _AGES:
            return False
        try:
            return not float(texts.get(_NUMBER, "")) <= values.OLDEST_YEARS
        except ValueError:
            return True
