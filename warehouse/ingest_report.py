"""What an ingest tells of itself.

In: counts. Out: what people see in a terminal or a notebook.
"""

from __future__ import annotations

import html
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, repr=False)
class IngestReport:
    """What one ingest did. The first five, ``moved`` and ``forgotten`` add up to ``files``."""

    created: int = 0
    """Instances that are new in the warehouse."""
    replaced: int = 0
    """Files known before with other content, read anew."""
    existing: int = 0
    """Files known and unchanged; not read."""
    duplicate: int = 0
    """Files whose instance another file holds."""
    rejected: int = 0
    """Files that are no DICOM or broken; ``files`` says why."""
    files: int = 0
    """Files found."""
    readers: dict[str, int] = field(default_factory=dict)
    """Which reader took how many of the files that were read."""
    batches: list[str] = field(default_factory=list)
    """Batches committed."""
    version: int = 0
    """Version of the warehouse afterwards."""
    seconds: float = 0.0
    rejects: list[tuple[str, str]] = field(default_factory=list)
    """Path and reason of the first rejected files among those found."""
    moved: int = 0
    """Known files that lie elsewhere now; not read."""
    forgotten: int = 0
    """Files of what was forgotten; no row is made of them."""

    def __repr__(self) -> str:
        """Return the counts, and the reasons of the first rejects."""
        kinds = ("created", "replaced", "existing", "duplicate", "rejected", "moved", "forgotten")
        counts = ", ".join(f"{getattr(self, k):,} {k}" for k in kinds if getattr(self, k))
        lines = [f"{path}: {why}"[:200] for path, why in self.rejects[:5]]
        head = f"{self.files:,} files: {counts or 'none'}; version {self.version}"
        return "\n ".join([f"<IngestReport {head}", *lines]) + ">"

    def _repr_html_(self) -> str:
        """Return the same for notebooks."""
        return f"<pre>{html.escape(repr(self))}</pre>"
