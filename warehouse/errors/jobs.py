"""Errors of artifacts, algorithms and jobs. None holds a value, or a part of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.calls import UsageError
from warehouse.errors.root import near

if TYPE_CHECKING:
    from collections.abc import Iterable


class AlgorithmError(UsageError):
    """An artifact, an algorithm or a job is not as it has to be."""


class UnknownAlgorithm(AlgorithmError, LookupError):
    """No algorithm has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(f"no algorithm is called {name!r}; {near(name, known)}")


class UnknownJob(AlgorithmError, LookupError):
    """No job, or more than one, has an id that begins so."""


class UnknownArtifact(AlgorithmError, LookupError):
    """No image or model, or more than one, has an id that begins so."""


class ArchiveRefused(AlgorithmError):
    """An archive is no image or model that can be run; the import says so too."""


class JobRefused(AlgorithmError):
    """A job cannot be made or changed as asked: it is there already, or there are too many."""


class TransitionRefused(AlgorithmError):
    """A job is in a state in which that cannot happen."""

    def __init__(self, label: str, what: str, events: Iterable[str]) -> None:
        possible = ", ".join(sorted(set(events))) or "nothing"
        super().__init__(f"a job in state {label} cannot be {what!r}; possible: {possible}")


class OutputRefused(AlgorithmError):
    """What an algorithm left is not what its sockets take; ``details`` say it by socket title."""

    def __init__(self, why: str, details: dict[str, str] | None = None) -> None:
        self.details = details or {}
        super().__init__(why)


class EngineMissing(AlgorithmError):
    """A program that runs containers is not installed, or does not run here."""


class RunLocked(AlgorithmError):
    """Somebody else is running jobs of the same algorithm."""
