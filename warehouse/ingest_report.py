"""``IngestReport``: the counts that an ingest returns, as text for terminals and notebooks."""

from __future__ import annotations

import html
from dataclasses import dataclass, field

from warehouse.counted import counted


@dataclass(frozen=True, slots=True, repr=False)
class IngestReport:
    """Result of an ingest. The first five counts, ``moved`` and ``forgotten`` sum to ``files``."""

    created: int = 0
    """Files with instances that are new in the warehouse."""
    replaced: int = 0
    """Known files that had changed and were read again."""
    existing: int = 0
    """Known, unchanged files; not read."""
    duplicate: int = 0
    """Files whose instance is stored from another file."""
    rejected: int = 0
    """Files that are damaged or not DICOM; the table ``files`` has the reason."""
    files: int = 0
    """Files found."""
    readers: dict[str, int] = field(default_factory=dict)
    """Number of files read by each reader, ``fast`` and ``pydicom``."""
    batches: list[str] = field(default_factory=list)
    """Keys of the committed batches."""
    version: int = 0
    """Version of the warehouse afterwards."""
    seconds: float = 0.0
    """Duration of the ingest."""
    rejects: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of the first rejected files."""
    moved: int = 0
    """Known files that were found at a new path; not read."""
    forgotten: int = 0
    """Files of erased patients, studies, series or instances; not stored."""
    unreachable: int = 0
    """Rejected files that are stored and could not be opened or read this time, as on an unmounted
    disk; their rows are kept, and the next ingest tries again."""

    def __repr__(self) -> str:
        """Return the counts, and the reasons of the first rejects."""
        kinds = ("created", "replaced", "existing", "duplicate", "rejected", "moved", "forgotten")
        counts = ", ".join(f"{getattr(self, k):,} {k}" for k in kinds if getattr(self, k))
        lines = [f"{path}: {why}"[:200] for path, why in self.rejects[:5]]
        head = f"{counted(self.files, 'file')}: {counts or 'none'}; version {self.version}"
        return "\n ".join([f"<IngestReport {head}", *lines]) + ">"

    def _repr_html_(self) -> str:
        """Return the same for notebooks."""
        return f"<pre>{html.escape(repr(self))}</pre>"
