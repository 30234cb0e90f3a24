"""Errors of wrong calls, and of files outside the warehouse."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError, near

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class SourceError(WarehouseError):
    """A file or folder outside the warehouse cannot be used."""


class SourceNotFound(SourceError, FileNotFoundError):
    """A source given by the caller does not exist."""

    def __init__(self, source: str) -> None:
        self.source = source
        advice = (
            "; paths are not expanded: select file names with --pattern of ingest, in Python "
            "pattern="
        )
        is_pattern = not {"*", "?"}.isdisjoint(source)
        super().__init__(f"no such file or folder: {source}{advice if is_pattern else ''}")

    def __str__(self) -> str:
        return str(self.args[0])


class BucketUnreachable(SourceError, ConnectionError):
    """A bucket cannot be listed: permission denied, no answer, or an invalid key."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"{url} cannot be listed: {why}. Check AWS_ENDPOINT_URL, AWS_REGION, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or narrow the prefix"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class NotAsIngested(SourceError):
    """A source no longer exists, or its size or time have changed since its ingest."""

    def __init__(self, why: str, *, is_gone: bool = False) -> None:
        self.is_gone = is_gone
        super().__init__(why)


class Rejected(SourceError):
    """A source file cannot be parsed; ``reason`` and ``offset`` are stored in ``files``."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(reason)


class TooMuch(Rejected):
    """A source file exceeds a limit of ``warehouse.settings.Limits``."""

    def __init__(self, limit: int, what: str) -> None:
        super().__init__(f"more than {limit} {what}: refused, see Limits of the settings")


class Unreachable(Rejected):
    """A source file could not be opened or read: permissions, a failing disk."""


class UsageError(WarehouseError, ValueError):
    """An argument is invalid."""


class UnknownMode(UsageError):
    """There is no import mode of that name."""

    def __init__(self, mode: str, known: Iterable[str]) -> None:
        self.mode = mode
        super().__init__(f"unknown mode {mode!r}; choose one of: {', '.join(known)}")


class UnknownFilter(UsageError):
    """A condition names an unknown or nested attribute, or its type lacks the operator."""


class UnknownCohort(UsageError, LookupError):
    """No cohort, or no run of one, has that name."""

    def __init__(self, name: str, known: Iterable[str], what: str = "cohort") -> None:
        self.name = name
        super().__init__(f"no {what} named {name!r}; {near(name, known)}")


class UnknownParameter(UsageError):
    """A cohort has no such parameter, or the value is not of its type."""


class UnsafeCohort(UsageError):
    """The SQL of a cohort is not one SELECT that reads the warehouse and nothing else."""


class CohortStopped(UsageError):
    """The SQL of a cohort exceeded its limit of time or memory."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the cohort was stopped: {why}. Narrow the query")


class MembersUnclear(UsageError):
    """The rows of a cohort have no key of instances, series, studies or patients."""


class SourcesVanished(UsageError):
    """No known file of a source is left."""

    def __init__(self, source: str, count: int) -> None:
        super().__init__(
            f"none of the {count:,} known files under {source} exists; is it mounted? "
            "If they were deleted on purpose, use --even-all"
        )


class TargetExists(UsageError, FileExistsError):
    """A file or folder of that name exists."""

    def __init__(self, target: Path, advice: str = "name another or remove it") -> None:
        super().__init__(f"{target} exists already; {advice}")

    def __str__(self) -> str:
        return str(self.args[0])


class NotInstalled(UsageError, ImportError):
    """A feature needs a package that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}: install it with pip install 'dicom-warehouse[{extra}]'"
        )

    def __str__(self) -> str:
        return str(self.args[0])
