"""Errors of artifacts, algorithms and jobs. No message contains a value, or a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.calls import UsageError
from warehouse.errors.root import near

if TYPE_CHECKING:
    from collections.abc import Iterable


class AlgorithmError(UsageError):
    """An artifact, an algorithm or a job is invalid."""


class UnknownAlgorithm(AlgorithmError, LookupError):
    """No algorithm has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no algorithm is named {name!r}; {near(name, known)}")


class UnknownJob(AlgorithmError, LookupError):
    """No job, or more than one, has an id with this prefix."""


class UnknownJobState(AlgorithmError, LookupError):
    """No state of a job has that label."""

    def __init__(self, label: str, known: Iterable[str]) -> None:
        super().__init__(f"no state of a job is called {label!r}; known: {', '.join(known)}")


class UnknownArtifact(AlgorithmError, LookupError):
    """No image or model, or more than one, has an id with this prefix."""


class ArchiveRefused(AlgorithmError):
    """An archive is not a valid image or model; its import is stored as failed."""


class JobRefused(AlgorithmError):
    """A job cannot be created or changed: it exists already, or there are too many."""


class TransitionRefused(AlgorithmError):
    """The state of a job does not allow this event."""

    def __init__(self, label: str, what: str, events: Iterable[str]) -> None:
        possible = ", ".join(sorted(set(events))) or "nothing"
        super().__init__(f"a job in state {label} cannot be {what!r}; possible: {possible}")


class OutputRefused(AlgorithmError):
    """Outputs of an algorithm are invalid for their sockets; ``details`` has reasons by title."""

    def __init__(self, why: str, details: dict[str, str] | None = None) -> None:
        self.details = details or {}
        super().__init__(why)


class EngineMissing(AlgorithmError):
    """No container engine is installed, or it does not work here."""


class RunLocked(AlgorithmError):
    """Another process runs jobs of the same algorithm."""
