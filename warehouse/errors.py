"""Everything the library raises on purpose.

Bad data never raises out of an ingest: it becomes a row of ``files`` with a reason. These errors
are for wrong calls and for a store that is not what its layout promises. No message contains a
value of a patient's header.

WarehouseError
├── SourceError        a file outside the warehouse cannot be used
│   ├── SourceNotFound     a path given by the caller does not exist
│   ├── BucketUnreachable  a bucket cannot be listed
│   ├── NotAsIngested      a known source is gone or has changed
│   └── Rejected           this file cannot become rows (kept as a reason, never fatal)
│       └── Unreachable        it could not be read this time; the next ingest tries again
├── UsageError         an argument has no meaning here
│   ├── UnknownMode
│   ├── UnknownFilter      a condition names no attribute, or means nothing for its type
│   ├── UnknownCohort      no cohort, or no run of one, has that name
│   ├── UnknownParameter
│   ├── UnsafeCohort       the SQL of a cohort is not one SELECT over the warehouse
│   ├── CohortStopped      the SQL of a cohort took more time or memory than it may
│   ├── MembersUnclear     the rows of a cohort do not say which entities are members
│   ├── SourcesVanished    all files of a source are gone, as if it were not mounted
│   ├── TargetExists       what is written never replaces a file
│   └── NotInstalled       it needs a package of an extra
├── StoreError         the folder is not the store that its layout promises
│   ├── NotAWarehouse
│   ├── LayoutMismatch
│   ├── StoreDamaged       files of the store are gone, cut, garbled or not its own
│   ├── UnknownVersion     there is no such version, or no longer
│   ├── LockIgnored        two writers committed at once; the second one was refused
│   ├── Outrun             another writer published to a bucket at the same time
│   └── WriteFailed        no space, no permission: nothing was committed
├── CatalogError       a model in sql/ or a question asked of the catalog is wrong
│   ├── ModelError         header and SQL of a model disagree, or models form a cycle
│   ├── UnknownTable
│   └── QueryFailed
├── WorkerError        files are read elsewhere, and there is something wrong
│   ├── SchedulerUnreachable   no Dask scheduler answers at that address
│   ├── WorkersLost            a process that read is gone; nothing of its batch was committed
│   └── WrongMachine           a worker sees another folder where the warehouse should be
├── ExportFailed       an output cannot be written, or a source of it is not what it was
├── InstanceNotFound   no instance with that UID
├── SeriesNotFound     no series with that UID
└── PixelError         pixels cannot be had as asked
    ├── NoPixels           no instance of the series has pixel data
    ├── NotAVolume         the frames of a series make no regular grid; says why
    ├── SourceChanged      a file is not what was ingested
    ├── NotReferable       voxels do not lie in their files as they are
    ├── PixelsUnreadable   what a file holds cannot be pixels, or is damaged
    ├── NoSingleUnit       numbers have several units, or several mappings to choose from
    ├── ArrayTooLarge      there is not enough memory for what was asked for
    └── NoDecoder          nothing installed decodes the transfer syntax
"""

from __future__ import annotations

import errno
import os
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


_CAUSES = {
    errno.ENOSPC: ("no space is left on the disk", "free space"),
    errno.EDQUOT: ("the disk quota is used up", "free space"),
    errno.ENOENT: ("there is no such folder", "make the folder or name another"),
    errno.ENOTDIR: ("a part of its path is a file, not a folder", "name another place"),
    errno.EISDIR: ("it is a folder", "name a file"),
    errno.EACCES: ("permission denied", "mend the permissions or name another place"),
    errno.EPERM: ("permission denied", "mend the permissions or name another place"),
    errno.EROFS: ("the file system is read-only", "name another place"),
    errno.ENAMETOOLONG: ("the name is too long", "name a shorter one"),
    errno.ELOOP: ("a link of its path leads to itself", "mend the link or name another place"),
    errno.EMFILE: ("too many files are open", "raise the limit (ulimit -n)"),
    errno.EIO: ("the disk reports an error", "check the disk"),
}


def cause_of(cause: BaseException) -> tuple[str, str]:
    """Return what an error of the operating system means, and what to do about it.

    DuckDB and Arrow tell it in the words of the operating system, at the end of a message.

    >>> cause_of(OSError(errno.ENOSPC, "No space left on device"))
    ('no space is left on the disk', 'free space')
    """
    found = getattr(cause, "errno", None)
    said = str(cause)
    for code, told in _CAUSES.items():
        if code == found or (found is None and os.strerror(code) in said):
            return told
    return said.splitlines()[0] if said else type(cause).__name__, "mend that"


class WarehouseError(Exception):
    """Base of everything raised on purpose; safe to show to a user without a traceback."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the message, not the arguments: files are read in other processes."""
        return _remade, (type(self), self.args, self.__dict__)


class SourceError(WarehouseError):
    """A file or folder outside the warehouse cannot be used."""


class SourceNotFound(SourceError, FileNotFoundError):
    """A source given by the caller does not exist."""

    def __init__(self, source: str) -> None:
        self.source = source
        super().__init__(f"no such file or folder: {source}")

    def __str__(self) -> str:
        return str(self.args[0])


class BucketUnreachable(SourceError, ConnectionError):
    """A bucket cannot be listed: no right to, no answer, or a key that cannot be asked for."""

    def __init__(self, url: str, why: str) -> None:
        super().__init__(
            f"{url} cannot be listed: {why}. Check AWS_ENDPOINT_URL, AWS_REGION, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or narrow the prefix"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class NotAsIngested(SourceError):
    """A known source is gone, or its size or time are not those of its ingest."""

    def __init__(self, why: str, *, is_gone: bool = False) -> None:
        self.is_gone = is_gone
        super().__init__(why)


class Rejected(SourceError):
    """A source file cannot become rows; ``reason`` and ``offset`` go into ``files``."""

    def __init__(self, reason: str, offset: int | None = None) -> None:
        self.reason = reason
        self.offset = offset
        super().__init__(reason)


class Unreachable(Rejected):
    """A source file could not be opened or read, whatever it holds: rights, a failing disk."""


class UsageError(WarehouseError, ValueError):
    """An argument has no meaning here."""


class UnknownMode(UsageError):
    """The import mode is none of those that exist."""

    def __init__(self, mode: str, known: Iterable[str]) -> None:
        self.mode = mode
        super().__init__(f"unknown mode {mode!r}; choose one of: {', '.join(known)}")


class UnknownFilter(UsageError):
    """A condition names nothing that can be asked, or asks what its type does not have."""


class UnknownCohort(UsageError, LookupError):
    """No cohort, or no run of one, has that name."""

    def __init__(self, name: str, known: Iterable[str], what: str = "cohort") -> None:
        self.name = name
        super().__init__(f"no {what} named {name!r}; {_near(name, known)}")


class UnknownParameter(UsageError):
    """A cohort has no such parameter, or the value is not of its type."""


class UnsafeCohort(UsageError):
    """The SQL of a cohort is not one SELECT that reads the warehouse and nothing else."""


class CohortStopped(UsageError):
    """The SQL of a cohort took more time or memory than it may."""

    def __init__(self, why: str) -> None:
        super().__init__(f"the cohort was stopped: {why}. Ask a narrower question")


class MembersUnclear(UsageError):
    """The rows of a cohort do not say which instances, series, studies or patients are members."""


class SourcesVanished(UsageError):
    """Not one of the known files of a source is left."""

    def __init__(self, source: str, count: int) -> None:
        super().__init__(
            f"none of the {count:,} known files under {source} is there; is it mounted? "
            "If they are gone for good, say so with --even-all"
        )


class TargetExists(UsageError, FileExistsError):
    """A file or folder has the name already."""

    def __init__(self, target: Path, advice: str = "name another or remove it") -> None:
        super().__init__(f"{target} exists already; {advice}")

    def __str__(self) -> str:
        return str(self.args[0])


class NotInstalled(UsageError, ImportError):
    """What was asked for needs a package that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        super().__init__(
            f"{what} needs {package}: install it with pip install 'dicom-warehouse[{extra}]'"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class StoreError(WarehouseError):
    """The store on disk is not what its layout promises."""


class NotAWarehouse(StoreError):
    """The folder exists but was not made by this library, or does not exist where it must."""

    def __init__(self, root: Path | str, why: str) -> None:
        self.root = root
        super().__init__(f"{root} is not a warehouse: {why}")


class LayoutMismatch(StoreError):
    """The store was written with a layout this version does not read."""

    def __init__(self, root: Path, found: object, supported: int) -> None:
        super().__init__(
            f"{root} has storage layout {found}, this version reads layout {supported}; "
            "install the version that wrote it, or ingest the sources into a new warehouse"
        )


class StoreDamaged(StoreError):
    """Files of the store are not what was committed; nothing is answered from a part of it."""

    def __init__(
        self, root: Path, what: str,
        remedy: str = "restore it from a backup, or ingest the sources into a new warehouse",
    ) -> None:  # fmt: skip
        self.root, self.what, self.remedy = root, what, remedy
        super().__init__(f"{root} is damaged: {what}; {remedy}")

    def __reduce__(self) -> tuple[type[StoreDamaged], tuple[Path, str, str]]:
        return type(self), (self.root, self.what, self.remedy)


class UnknownVersion(StoreError, LookupError):
    """A version of the warehouse that it does not have, or no longer."""

    def __init__(self, root: Path, version: int) -> None:
        super().__init__(
            f"{root} has no version {version}, or no longer: old ones are cleaned away"
        )


class LockIgnored(StoreError):
    """Another writer committed although the lock was held; nothing of this batch was."""

    def __init__(self, root: Path) -> None:
        super().__init__(
            f"another writer committed to {root} at the same time. Nothing of this batch was "
            "committed; run the same command again. If it happens again, the file system does not "
            "keep locks between machines (flock): let one machine write at a time"
        )


class Outrun(StoreError):
    """Another writer has published to a bucket meanwhile; nothing of this work was."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"another writer published to {url} at the same time. Nothing of this was published; "
            "run the same command again"
        )


class WriteFailed(StoreError, OSError):
    """The store could not be written; what was committed before is unchanged."""

    def __init__(self, what: str, cause: BaseException) -> None:
        wrong, advice = cause_of(cause)
        super().__init__(
            f"could not write {what}: {wrong}. Nothing of this batch was committed; "
            f"{advice} and run the same command again"
        )

    def __str__(self) -> str:
        return str(self.args[0])


class WorkerError(WarehouseError):
    """Files are read by other processes, and these cannot do it."""


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
    """A process that read files of a batch is gone; ``how`` says what became of it."""

    def __init__(self, batch: str, how: str) -> None:
        super().__init__(
            f"a process that read batch {batch} {how}. Nothing of this batch was committed; run "
            "the same command again, with fewer workers if memory is short"
        )


def stopped(kept: int, files: int | None) -> KeyboardInterrupt:
    """Return what Ctrl-C raises out of an ingest: the exception itself, with a message.

    Not an error of ours: a shell that runs a script has to see that it was interrupted, and Python
    sees to that for this very class alone. A notebook shows the message without a traceback.

    Parameters
    ----------
    kept
        Files whose rows are in the warehouse.
    files
        Files found, or None if they were still being listed.
    """
    what = (
        f"{kept:,} of {files:,} files are in the warehouse" if files is not None
        else "files were still being listed, nothing was read"
    )  # fmt: skip
    error = KeyboardInterrupt(f"stopped: {what}; run the same command again to go on")
    # What IPython asks an exception for instead of drawing its traceback.
    error._render_traceback_ = lambda: [f"KeyboardInterrupt: {error}"]  # type: ignore[attr-defined]
    return error


class WrongMachine(WorkerError):
    """A worker runs where the folder of the warehouse is not the one to be written to."""

    def __init__(self, root: Path, machine: str) -> None:
        self.root, self.machine = root, machine
        super().__init__(
            f"the worker on {machine} does not see the warehouse {root}: mount the folder there "
            "under the same path, or stop that worker"
        )


class CatalogError(WarehouseError):
    """A model in sql/, or a question asked of the catalog, is wrong."""

    def _render_traceback_(self) -> list[str]:
        """Return what a notebook shows: what is wrong, not where in this library it was found."""
        return [f"{type(self).__name__}: {self}"]


class ModelError(CatalogError):
    """A file in sql/ breaks a rule of its header."""


class UnknownTable(CatalogError, LookupError):
    """No table or view has that name."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        self.name = name
        super().__init__(f"no table or view named {name!r}; {_near(name, known)}")


class QueryFailed(CatalogError):
    """DuckDB could not run the SQL of the caller."""


class InstanceNotFound(WarehouseError, LookupError):
    """No stored instance has that SOP Instance UID, and no file has that path."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked!r} is neither a file nor the SOPInstanceUID of a stored instance; "
            'list some with: dicom-warehouse sql "select SOPInstanceUID from instances limit 5"'
        )


class SeriesNotFound(WarehouseError, LookupError):
    """No stored series has that UID."""

    def __init__(self, asked: str) -> None:
        super().__init__(
            f"{asked!r} is not the SeriesInstanceUID of a stored series; list some with: "
            'dicom-warehouse sql "select SeriesInstanceUID from series limit 5"'
        )


class PixelError(WarehouseError):
    """Pixels cannot be had as asked."""


class NoPixels(PixelError):
    """The instances of a series have no pixel data."""

    def __init__(self, series_uid: str) -> None:
        super().__init__(f"no instance of series {series_uid} has pixel data")


class NotAVolume(PixelError, ValueError):
    """The frames of a series make no regular grid; ``why`` says what is against it."""

    def __init__(self, series_uid: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"series {series_uid} is no volume: {why}; its frames, one by one: wh.stack(...)"
        )


class NoGradients(PixelError, ValueError):
    """The volumes of a series have no diffusion weighting that can be told; ``why`` says why."""

    def __init__(self, series_uid: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"no diffusion gradients of series {series_uid}: {why}; what its frames state is in "
            "the view diffusion_frames"
        )


class SourceChanged(PixelError):
    """A source file was moved, cut off or replaced since it was ingested."""

    def __init__(self, path: str, why: str) -> None:
        self.path = path
        super().__init__(f"{path} is not what was ingested: {why}; ingest its folder again")


class NotReferable(PixelError, ValueError):
    """Voxels cannot be referred to where they lie; ``why`` says what is against it."""

    def __init__(self, series_uid: str, why: str) -> None:
        self.why = why
        super().__init__(
            f"series {series_uid} cannot be read in place by other tools: {why}; write a copy with "
            "--npy or --nifti"
        )


class PixelsUnreadable(PixelError):
    """The pixel data of a file are damaged, or not what its header says."""

    def __init__(self, path: str, why: str) -> None:
        self.path, self.why = path, why
        super().__init__(f"pixels of {path} cannot be read: {why}")


class NoSingleUnit(PixelError, ValueError):
    """Values cannot be given in one unit; ``why`` names the mappings or units that there are."""

    def __init__(self, what: str, why: str) -> None:
        self.why = why
        super().__init__(f"{what} cannot be given in one unit: {why}")


class ArrayTooLarge(PixelError, MemoryError):
    """There is not enough memory for the array or frame that was asked for."""

    def __init__(self, what: str, size_bytes: int) -> None:
        super().__init__(
            f"{what} needs {size_bytes / 2**30:.1f} GiB of memory, which is not there; ask for "
            "fewer slices at a time"
        )


class NoDecoder(PixelError):
    """Nothing that is installed decodes a transfer syntax."""

    def __init__(self, uid: str, name: str, missing: Iterable[str]) -> None:
        needs = "; ".join(missing)
        advice = (
            "install them with: pip install 'dicom-warehouse[pixels]' (pydicom asks for "
            f"{needs})" if needs else "pydicom has no decoder for it"
        )  # fmt: skip
        super().__init__(f"no decoder for transfer syntax {name} ({uid}): {advice}")


class ExportFailed(WarehouseError):
    """An output cannot be written, or a source of it is not what was ingested."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"could not write {what}: {why}. Nothing was left behind")


def _remade(
    kind: type[WarehouseError], args: tuple[Any, ...], state: dict[str, Any]
) -> WarehouseError:
    """Return an error that was pickled."""
    made = kind.__new__(kind)
    made.args = args
    made.__dict__.update(state)
    return made


def _near(name: str, known: Iterable[str]) -> str:
    """Return the names that are like one, or all."""
    known = sorted(known)
    similar = get_close_matches(name.lower(), known)
    if similar:
        return f"similar: {', '.join(similar)}"
    return f"known: {', '.join(known)}" if known else "there is none"
