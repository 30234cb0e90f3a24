"""A warehouse in a bucket, mirrored in a local folder in which all work is done.

In: ``s3://bucket/prefix`` and ``S3Access``. Out: ``Mirror``, whose ``root`` is a normal local
warehouse. ``pull`` updates it to the newest version in the bucket; ``push`` publishes what was
committed to it.

All files of a warehouse are immutable, except for a few small ones, so synchronization only copies
files. Conflicts between writers are decided by the log: an entry is uploaded only if there is none
with its number. The entry of ``files`` is uploaded last and makes the version visible, as on a
disk. The loser of a conflict rolls back and retries from the version that the other one published
(docs/decisions/0015-a-bucket-is-worked-with-in-a-folder.md).
"""

from __future__ import annotations

import datetime as dt
import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import time
import weakref
from itertools import count
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote

from warehouse.dicom.objects import is_object
from warehouse.errors import NotAWarehouse, Outrun, UsageError
from warehouse.settings import user_cache
from warehouse.store import delta, layout, tables
from warehouse.store.bucket import Bucket
from warehouse.store.marker import found_identity
from warehouse.store.mirror_state import file_md5, has_one_state, is_log, is_part, read_tags

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable
    from pathlib import Path

    from warehouse.settings import S3Access

_Answer = TypeVar("_Answer")

ATTEMPTS = 50
"""Maximum number of attempts if other writers publish first."""

GRACE = dt.timedelta(days=1)
"""Minimum age at which an unreferenced part is deleted: longer than any writer needs to publish."""

_LOCAL = ("_cache", "_lock", "_writers", "_reading", layout.JOBS)
"""Files and folders that belong to one machine and are never copied."""

_TAGS = ".tags.json"
"""File with the entity tags of objects; for encrypted objects these differ from the MD5."""

_FILES_LOG = "files/_delta_log/"
_LOG_ENTRY = re.compile(r"[0-9]{20}\.json")


def _is_local(key: str) -> bool:
    return key.split("/", 1)[0] in _LOCAL


class Mirror:
    """A warehouse in a bucket and its local copy, which only this object uses."""

    def __init__(self, url: str, access: S3Access, cache: Path) -> None:
        self._bucket = Bucket(url, access)
        self.url = self._bucket.url
        self._published: dict[str, str] = {}
        """Objects in the bucket: key below the prefix → state; empty for immutable files."""
        name = hashlib.sha256(f"{access.endpoint}\0{self.url}".encode()).hexdigest()[:16]
        self.root, lock = _unused_folder(cache / name)
        self._finalizer = weakref.finalize(self, os.close, lock)
        self._tags = read_tags(self.root / _TAGS)
        """Key → digest of the local bytes, and entity tag of the object."""

    def require_apart(self, sources: Iterable[str | os.PathLike[str]]) -> None:
        """Raise for sources that contain the warehouse, whose own objects would be ingested."""
        for source in sources:
            if is_object(source) and f"{self.url}/".startswith(f"{str(source).rstrip('/')}/"):
                raise UsageError(f"{source} contains the warehouse {self.url}; name other prefixes")

    def close(self) -> None:
        """Release the folder lock."""
        self._finalizer()

    def pull(self) -> None:
        """Update the folder to the newest version in the bucket; roll back unpublished changes.

        Raises
        ------
        BucketUnreachable
        NotAWarehouse
            The objects below the prefix are not a warehouse.
        """
        # List versions first, because the files they reference were uploaded before them.
        versions = self._list(_FILES_LOG)
        found = {
            key: state
            for key, state in self._list("").items()
            if not _is_local(key) and (not key.startswith(_FILES_LOG) or key in versions)
        }
        foreign = {key.split("/", 1)[0] for key in found} - {*tables.names(), *_OURS}
        if foreign and layout.MARKER not in found:
            raise NotAWarehouse(self.url, "the prefix has other objects; name another prefix")
        if not self._is_same_warehouse(found.get(layout.MARKER)):
            # The folder is left from an earlier warehouse, or from an interrupted creation.
            shutil.rmtree(self.root, ignore_errors=True)
            self.root.mkdir(mode=0o700)
            self._tags.clear()
        self._published = found
        self.take_back()
        local = self._here()
        missing = [key for key in found if not is_part(key) and key not in local]
        self._download(missing)
        if any(key.startswith("_forgotten/") for key in missing):
            # Local materialized views may contain data that another machine has forgotten.
            shutil.rmtree(layout.cache_folder(self.root), ignore_errors=True)
        if layout.MARKER not in found:
            return
        snapshot = delta.snapshot(self.root, parts_are_here=False)
        parts = {f"{table}/{part}" for table, some in snapshot.parts.items() for part in some}
        for key in local:
            if is_part(key) and key not in parts:
                (self.root / key).unlink(missing_ok=True)
        self._download(key for key in parts if key not in local)
        self._keep_tags()

    def push(self) -> None:
        """Upload what was committed to the folder.

        Raises
        ------
        Outrun
            Another writer has published since the last pull. Changes of the folder that are not in
            the bucket must be rolled back.
        WriteFailed
            Writing to the bucket failed; its version is unchanged.
        """
        local = self._here()
        logs = sorted(
            (key for key in local if is_log(key) and key not in self._published),
            key=lambda key: (tables.names().index(key.split("/", 1)[0]), key),
        )
        first = next((key for key in logs if key.startswith(_FILES_LOG)), None)
        if first and self._bucket.exists(first):
            raise Outrun(self.url)
        named = {part for key in logs for part in self._named(key)}
        others = [
            key for key, state in local.items()
            if not is_part(key) and not is_log(key) and key != layout.MARKER
            and self._published.get(key) != state
        ]  # fmt: skip
        if layout.MARKER in local.keys() - self._published.keys():
            self._bucket.require_conditional_put()
        # Only one writer may claim the number of a batch or cohort run.
        for key in sorted(others):
            if key not in self._published:
                self._bucket.put_if_absent(key, self.root, self._agree)
        self._upload(sorted(named & local.keys() - self._published.keys()))
        # What another writer has put in the meantime would be lost by replacing it.
        self._replace([key for key in others if self._published[key] != local[key]])
        # The marker is written before the first version, so without a marker there are no rows.
        made = [key for key in logs if key.endswith(f"/{0:020d}.json")]
        made += [layout.MARKER] if layout.MARKER in local.keys() - self._published.keys() else []
        for key in [*made, *(key for key in logs if key not in made)]:
            self._bucket.put_if_absent(key, self.root, self._agree)
        marker = local.get(layout.MARKER)
        if marker and self._published[layout.MARKER] != marker:
            # It lists new tables. Two concurrent writers may lose one; the next commit adds it.
            self._upload([layout.MARKER])
        self._keep_tags()

    def delete_unnamed(self, grace: dt.timedelta = GRACE, *, forgotten: Container[str] = ()) -> int:
        """Delete unreferenced objects in the bucket; return their number.

        A part is unreferenced if the newest version does not use it. A part that no log references
        may belong to a writer that is about to commit, so recent ones are kept. Values that no row
        references are deleted, too, and at any age those that were ``forgotten``. Files that belong
        to one machine, which earlier versions of this software uploaded, are deleted.
        """
        snapshot = delta.snapshot(self.root)
        named = {f"{table}/{part}" for table, some in snapshot.parts.items() for part in some}
        local = self._here()
        ever = {part for key in local if is_log(key) for part in self._named(key)}
        cutoff = dt.datetime.now(dt.UTC) - grace
        gone = []
        for key, meta in self._bucket.objects():
            is_value = key.startswith(f"{layout.VALUES}/") and key not in local
            is_old = key in ever or key in forgotten or meta["last_modified"] < cutoff
            is_unnamed = is_value or (is_part(key) and key not in named)
            if _is_local(key) or (is_unnamed and is_old):
                gone.append(key)
        self._bucket.delete(gone)
        for key in gone:
            self._published.pop(key, None)
        return len(gone)

    def take_back(self) -> None:
        """Roll back: delete local files that differ from the bucket."""
        gone = [
            key for key, state in self._here().items()
            if not is_part(key) and self._published.get(key) != state
            # A marker with too many tables is harmless; without one there is no warehouse.
            and not (key == layout.MARKER and key in self._published)
        ]  # fmt: skip
        for key in gone:
            (self.root / key).unlink(missing_ok=True)
        if any(is_log(key) for key in gone):
            # These may describe versions that do not exist.
            for log in self.root.glob("*/_delta_log"):
                noted = (*log.glob("*.checkpoint*"), *log.glob("*.committed"))
                for path in (*noted, log / "_last_checkpoint"):
                    path.unlink(missing_ok=True)
            shutil.rmtree(layout.cache_folder(self.root), ignore_errors=True)

    def work(self, action: Callable[[], _Answer]) -> _Answer:
        """Change the folder and publish it; repeat the change if another writer published first.

        Raises
        ------
        Outrun
            Other writers published first in every attempt.
        """
        for attempt in range(ATTEMPTS):
            try:
                answer = action()
                self.push()
            except Outrun:
                if attempt == ATTEMPTS - 1:
                    raise
                # Wait a random time, so that one of several losers wins the next attempt.
                time.sleep(random.uniform(0, 0.1 * (attempt + 1)))  # noqa: S311
                self.pull()
            except BaseException:
                self.take_back()
                raise
            else:
                return answer
        raise AssertionError

    def _is_same_warehouse(self, state: str | None) -> bool:
        """Return whether the folder mirrors the warehouse in the bucket; copy its marker."""
        before = found_identity(self.root)
        if before is None or state is None:
            return False
        if self._state(layout.MARKER) != state:
            self._download([layout.MARKER])
        return found_identity(self.root) == before

    def _here(self) -> dict[str, str]:
        """Return key → state of the local files that may be published; empty for immutable ones."""
        found = {}
        for folder, folders, names in os.walk(self.root):
            if folder == str(self.root):
                folders[:] = [name for name in folders if name not in _LOCAL]
            below = os.path.relpath(folder, self.root)
            for name in names:
                key = name if below == "." else f"{below}/{name}"
                of_log = below.endswith("_delta_log")
                if of_log and not _LOG_ENTRY.fullmatch(name):
                    continue
                if key not in _LOCAL and not name.startswith("."):
                    found[key] = self._state(key)
        return found

    def _state(self, key: str) -> str:
        """Return the entity tag that the bucket would give a local file."""
        if has_one_state(key):
            return ""
        digest = file_md5(self.root / key)
        known, tag = self._tags.get(key, ("", ""))
        # The ETag of an object that was put in one request and is not encrypted.
        return tag if known == digest else digest

    def _agree(self, key: str, tag: str | None) -> None:
        """Record that a local file equals its object, with the object's entity tag."""
        if has_one_state(key):
            self._published[key] = ""
            return
        digest = file_md5(self.root / key)
        self._published[key] = (tag or digest).strip('"')
        self._tags[key] = (digest, self._published[key])

    def _keep_tags(self) -> None:
        draft = self.root / f"{_TAGS}-draft"
        draft.write_text(json.dumps(self._tags), encoding="utf-8")
        draft.replace(self.root / _TAGS)

    def _named(self, key: str) -> list[str]:
        """Return the keys of the parts that a log entry adds."""
        table = key.split("/", 1)[0]
        lines = (self.root / key).read_text(encoding="utf-8").splitlines()
        actions = [json.loads(line) for line in lines]
        return [f"{table}/{unquote(a['add']['path'])}" for a in actions if "add" in a]

    def _list(self, below: str) -> dict[str, str]:
        """Return key → state of the objects below a key; empty for immutable ones."""
        return {
            key: "" if has_one_state(key) else str(meta["e_tag"]).strip('"')
            for key, meta in self._bucket.objects(below)
        }

    def _download(self, keys: Iterable[str]) -> None:
        self._bucket.download(keys, self.root, self._agree)

    def _replace(self, keys: Iterable[str]) -> None:
        states = {key: self._published[key] for key in keys}
        self._bucket.replace(states, self.root, self._agree)

    def _upload(self, keys: Iterable[str]) -> None:
        self._bucket.upload(keys, self.root, self._agree)


_OURS = frozenset(
    {
        layout.MARKER,
        layout.VALUES,
        "_audit",
        "_batches",
        "_empty",
        "_forgotten",
        "cohorts",
        "dictionary.json",
        "sequence_types.csv",
    }
)


def open_mirror(url: str, access: S3Access, cache: Path | None = None) -> Mirror:
    """Download the newest version of a warehouse in a bucket to a local folder.

    Parameters
    ----------
    cache
        Parent of the folder; by default the user's cache. The folder has all data of the warehouse,
        and only its owner can read it.

    Raises
    ------
    BucketUnreachable, NotAWarehouse
    """
    folder = cache or user_cache()
    if folder is None:
        raise UsageError("a warehouse in a bucket needs a cache: set XDG_CACHE_HOME to a folder")
    mirror = Mirror(url, access, folder / "buckets" if cache is None else cache)
    try:
        mirror.pull()
    except BaseException:
        mirror.close()
        raise
    return mirror


def _unused_folder(base: Path) -> tuple[Path, int]:
    """Return a folder that no other process uses, and its lock."""
    base.mkdir(parents=True, exist_ok=True, mode=0o700)
    for number in count():
        lock = os.open(base / f"{number}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        (base / str(number)).mkdir(exist_ok=True, mode=0o700)
        return base / str(number), lock
    raise AssertionError
