"""Errors of the store and of worker processes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from warehouse.errors.root import WarehouseError, cause_of

if TYPE_CHECKING:
    from pathlib import Path


class StoreError(WarehouseError):
    """The store does not conform to its layout."""


class NotAWarehouse(StoreError):
    """The folder is not a warehouse, or does not exist."""

    def __init__(self, root: Path | str, why: str) -> None:
        self.root = root
        super().__init__(f"{root} is not a warehouse: {why}")


class LayoutMismatch(StoreError):
    """The store has a layout that this version cannot read."""

    def __init__(self, root: Path, found: object, supported: int) -> None:
        super().__init__(
            f"{root} has storage layout {found}, this version reads layout {supported}; "
            "install the version that wrote it, or ingest the sources into a new warehouse"
        )


class StoreDamaged(StoreError):
    """Files of the store differ from what was committed, so queries are refused."""

    def __init__(
        self, root: Path, what: str,
        remedy: str = "restore it from a backup, or ingest the sources into a new warehouse",
    ) -> None:  # fmt: skip
        self.root, self.what, self.remedy = root, what, remedy
        super().__init__(f"{root} is damaged: {what}; {remedy}")

    def __reduce__(self) -> tuple[type[StoreDamaged], tuple[Path, str, str]]:
        return type(self), (self.root, self.what, self.remedy)


class StoreUnreadable(StoreError):
    """The permissions of a file of the store do not allow reading it; it may be whole."""

    def __init__(self, root: Path, what: str) -> None:
        super().__init__(
            f"{root} cannot be read: permission denied for {what}; correct the permissions, or run "
            "it as a user who may read all files of the warehouse"
        )


class UnknownVersion(StoreError, LookupError):
    """There is no such version of the warehouse, or no longer."""

    def __init__(self, root: Path, version: int) -> None:
        super().__init__(f"{root} has no version {version}, or no longer: old versions are deleted")


class LockIgnored(StoreError):
    """Another writer committed despite the lock; nothing of this batch was committed."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"another writer committed to {root} at the same time. Nothing of this batch was "
            "committed; run the same command again. If it happens again, the file system does not "
            "support locks between machines (flock): let one machine write at a time"
        )


class Outrun(StoreError):
    """Another writer has published to the bucket first; nothing of this work was published."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"another writer published to {url} at the same time. Nothing of this was published; "
            "run the same command again"
        )


class KeyTaken(StoreError):
    """Rows to append have the key of other rows; nothing was appended."""

    def __init__(self, table: str, key: tuple[str, ...], count: int) -> None:
        super().__init__(
            f"{count:,} rows for {table} have the {', '.join(key)} of a row with other values. "
            "Nothing was appended; appended rows never change, so give the new rows other keys"
        )


class WriteFailed(StoreError, OSError):
    """The store could not be written; the committed version is unchanged."""

    def __init__(self, what: str, cause: BaseException) -> None:
        wrong, advice = cause_of(cause)
        super().__init__(
            f"could not write {what}: {wrong}. Nothing of this batch was committed; "
            f"{advice} and run the same command again"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerError(WarehouseError):
    """Worker processes cannot read files."""


class SchedulerUnreachable(WorkerError, ConnectionError):
    """No Dask scheduler answers at the address given."""

    def __init__(self, address: str, cause: BaseException) -> None:
        super().__init__(
            f"no Dask scheduler answers at {address} ({type(cause).__name__}); start one with: "
            "dask scheduler"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class WorkersLost(WorkerError):
    """A process that read files of a batch has died; ``how`` says how."""

    def __init__(self, batch: str, how: str) -> None:
        super().__init__(
            f"a process that read batch {batch} {how}. Nothing of this batch was committed; run "
            "the same command again, with fewer workers if memory is short"
        )


def stopped(kept: int, files: int | None) -> KeyboardInterrupt:
    """Return the KeyboardInterrupt of a stopped ingest, with a message.

    It is not a ``WarehouseError``: only for KeyboardInterrupt itself does Python end by SIGINT,
    which the shell of a script needs to see. A notebook shows the message without a traceback.

    Parameters
    ----------
    kept
        Files whose rows are in the warehouse.
    files
        Files found, or None if they were still being listed.
    """
    what = (
        f"{kept:,} of {files:,} files are in the warehouse" if files is not None
        else f"{kept:,} files are in the warehouse, others were still being listed" if kept
        else "files were still being listed, nothing was read"
    )  # fmt: skip
    error = KeyboardInterrupt(f"stopped: {what}; run the same command again to continue")
    # IPython calls this instead of rendering a traceback.
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {error}"]  # type: ignore[attr-defined]
    return error


class WrongMachine(WorkerError):
    """The machine of a worker has another folder at the path of the warehouse."""

    def __init__(self, root: Path, machine: str) -> None:
        self.root, self.machine = root, machine
        super().__init__(
            f"the worker on {machine} does not see the warehouse {root}: mount the folder there "
            "under the same path, or stop that worker"
        )


class ReadingFailed(WorkerError):
    """Reading fails for a known good file, too, so no file is the cause."""

    def __init__(self, stage: str, kind: str) -> None:
        super().__init__(
            f"files cannot be read here: {kind} in stage {stage!r}, also for a file that is known "
            "to be good. Nothing of this batch was committed; check memory, disk and installation "
            "and run the same command again"
        )


class NothingToForget(StoreError, LookupError):
    """The entity to forget or allow is unknown; the message does not repeat its identifier."""

    def __init__(self, level: str, *, is_to_allow: bool = False) -> None:
        super().__init__(
            f"no {level} with that identifier was forgotten; if its patient, study or series was, "
            "allow that: dicom-warehouse forget --list shows what was forgotten"
            if is_to_allow else
            f"no {level} with that identifier is in the warehouse; "
            "list them with dicom-warehouse sql, such as PatientID of `patients`"
        )  # fmt: skip


class RebuildNeeded(StoreError):
    """The key of an entity to forget is the first of several values, which others may share."""

    def __init__(self, level: str) -> None:
        super().__init__(
            f"an earlier version of this software stored only the first value of the identifier of "
            f"this {level}, which others may share: run dicom-warehouse rebuild, then forget again"
        )


class WritersRunning(StoreError):
    """An operation needs exclusive access, and a writer is running."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"a writer of {root} is running, and its uncommitted files could not be determined; "
            "run the same command again when it has ended"
        )
