"""Define ``Written``, the record of an image of a data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import datetime as dt


@dataclass(frozen=True, slots=True)
class Written:
    """A written image.

    Attributes
    ----------
    name
        Path in the data set, without extension.
    series_key
        Key of its series.
    subject, session, data_type, suffix, task
        As in the view ``bids_paths``.
    acquired_at
        When the acquisition of its series began, in the clock of the device.
    sidecar
        Its JSON.
    beside
        Content of accompanying files by ending: ``.bval``, ``.bvec``.
    """

    name: str
    series_key: str
    subject: str
    session: str
    data_type: str
    suffix: str
    task: str | None
    acquired_at: dt.datetime | None
    sidecar: dict[str, Any]
    beside: dict[str, bytes]
