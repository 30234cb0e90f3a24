"""List, download, upload and delete the objects of a bucket below a prefix.

In: ``s3://bucket/prefix`` and ``S3Access``. Out: files in a folder, several at a time. Errors name
the warehouse.
"""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from warehouse.dicom.objects import bucket_store, parts_of
from warehouse.errors import BucketUnreachable, Outrun, WriteFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path

    from obstore.store import S3Store

    from warehouse.settings import S3Access

CONNECTIONS = 16
"""Objects copied at a time."""

_UNCONDITIONAL = (
    "the server ignores the condition If-None-Match of a put, so that writers would overwrite each "
    "other; use a folder or another server"
)


class Bucket:
    """Operations on a bucket; ``done`` is called with key and entity tag of each copied object."""

    def __init__(self, url: str, access: S3Access) -> None:
        self.url = url.rstrip("/")
        bucket, prefix = parts_of(self.url)
        self._prefix = f"{prefix}/" if prefix else ""
        self._store: S3Store = bucket_store(bucket, access)

    def objects(self, below: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Yield the key and the metadata of each object.

        Raises
        ------
        BucketUnreachable
        """
        import obstore  # noqa: PLC0415 - an extra

        with self._reading():
            for some in obstore.list(
                self._store, prefix=(self._prefix + below).rstrip("/") or None
            ):
                for meta in some:
                    yield str(meta["path"]).removeprefix(self._prefix), meta

    def exists(self, key: str) -> bool:
        """Return whether an object exists.

        Raises
        ------
        BucketUnreachable
        """
        import obstore  # noqa: PLC0415

        with self._reading():
            try:
                obstore.head(self._store, self._prefix + key)
            except FileNotFoundError:
                return False
        return True

    def download(
        self, keys: Iterable[str], folder: Path, done: Callable[[str, str | None], None]
    ) -> None:
        """Copy objects to files of the same names in a folder, each atomically.

        Raises
        ------
        BucketUnreachable
        """
        import obstore  # noqa: PLC0415

        def fetch(key: str) -> None:
            target = folder / key
            target.parent.mkdir(parents=True, exist_ok=True)
            draft = target.with_name(f".{target.name}")
            answer = obstore.get(self._store, self._prefix + key)
            with draft.open("wb") as file:
                for chunk in answer.stream():
                    file.write(chunk)
            draft.replace(target)
            done(key, answer.meta["e_tag"])

        with self._reading():
            _each(fetch, keys)

    def upload(
        self, keys: Iterable[str], folder: Path, done: Callable[[str, str | None], None]
    ) -> None:
        """Copy files of a folder to objects of the same names.

        Raises
        ------
        WriteFailed
        """
        import obstore  # noqa: PLC0415

        def send(key: str) -> None:
            answer = obstore.put(self._store, self._prefix + key, folder / key)
            done(key, answer["e_tag"])

        with self._writing():
            _each(send, keys)

    def put_if_absent(
        self, key: str, folder: Path, done: Callable[[str, str | None], None]
    ) -> None:
        """Copy a file to an object that does not exist yet.

        Raises
        ------
        Outrun
            The object exists, with other content.
        WriteFailed
        """
        import obstore  # noqa: PLC0415

        data = (folder / key).read_bytes()
        with self._writing():
            try:
                tag = obstore.put(self._store, self._prefix + key, data, mode="create")["e_tag"]
            except obstore.exceptions.AlreadyExistsError as error:
                tag = self._tag_of_ours(key, data, error)
        done(key, tag)

    def replace(
        self, states: Mapping[str, str], folder: Path, done: Callable[[str, str | None], None]
    ) -> None:
        """Copy files to objects that exist, if these still have the given entity tags.

        A server without conditional replacement replaces them in any case.

        Raises
        ------
        Outrun
            Another writer has replaced one, with other content.
        WriteFailed
        """
        import obstore  # noqa: PLC0415

        def send(key: str) -> None:
            data, known = (folder / key).read_bytes(), f'"{states[key]}"'
            try:
                tag = obstore.put(self._store, self._prefix + key, data, mode={"e_tag": known})[
                    "e_tag"
                ]
            except (
                obstore.exceptions.PreconditionError,
                obstore.exceptions.AlreadyExistsError,
            ) as error:
                tag = self._tag_of_ours(key, data, error)
            except obstore.exceptions.BaseError:
                tag = obstore.put(self._store, self._prefix + key, data)["e_tag"]
            done(key, tag)

        with self._writing():
            _each(send, states)

    def require_conditional_put(self) -> None:
        """Raise if the server replaces an object that a writer asked to create.

        Two writers would then overwrite each other's versions.

        Raises
        ------
        WriteFailed
        """
        import obstore  # noqa: PLC0415

        # Below a name that belongs to one machine, so that nobody takes it for a file.
        key = f"{self._prefix}_lock/{uuid.uuid4().hex}"
        with self._writing():
            obstore.put(self._store, key, b"1", mode="create")
            try:
                obstore.put(self._store, key, b"2", mode="create")
            except obstore.exceptions.AlreadyExistsError:
                return
            finally:
                # Without the permission to delete, this object remains and is never read.
                with suppress(obstore.exceptions.BaseError, OSError):
                    obstore.delete(self._store, key)
            raise OSError(_UNCONDITIONAL)

    def _tag_of_ours(self, key: str, data: bytes, error: Exception) -> str | None:
        """Return the tag of an object if it is ours, as after a lost response and a retry."""
        import obstore  # noqa: PLC0415

        answer = obstore.get(self._store, self._prefix + key)
        if bytes(answer.bytes()) != data:
            raise Outrun(self.url) from error
        return answer.meta["e_tag"]

    def delete(self, keys: Collection[str]) -> None:
        """Delete objects.

        Raises
        ------
        BucketUnreachable
        """
        import obstore  # noqa: PLC0415

        if keys:
            with self._reading():
                obstore.delete(self._store, [self._prefix + key for key in keys])

    @contextmanager
    def _reading(self) -> Iterator[None]:
        import obstore  # noqa: PLC0415

        try:
            yield
        except (obstore.exceptions.BaseError, OSError) as error:
            raise BucketUnreachable(self.url, str(error).partition("\n")[0]) from error

    @contextmanager
    def _writing(self) -> Iterator[None]:
        import obstore  # noqa: PLC0415

        try:
            yield
        except (obstore.exceptions.BaseError, OSError) as error:
            raise WriteFailed(self.url, error) from error


def _each(work: Callable[[str], Any], keys: Iterable[str]) -> None:
    with ThreadPoolExecutor(CONNECTIONS) as threads:
        for _ in threads.map(work, keys):
            pass
