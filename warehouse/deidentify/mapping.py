"""The encrypted mapping of original to new identifiers.

In: old and new UIDs and patients, a key. Out: ``uid_mapping.csv`` and ``patid_mapping.csv`` with
the columns ``id_old,id_new``, which the validation script of the MIDI-B challenge reads, encrypted:
one Fernet token per line and portion. ``dicom-warehouse deidentify mapping`` decrypts them.
"""

from __future__ import annotations

import base64
import csv
import io
import os
from typing import IO, TYPE_CHECKING, Any

from warehouse.errors import NotInstalled, SourceNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from warehouse.deidentify.key import Key

UIDS, PATIENTS = "uid_mapping.csv", "patid_mapping.csv"
HEAD = "id_old,id_new"
SUFFIX = ".encrypted"


def cipher(key: Key) -> Any:
    """Return the cipher for tables that are encrypted with a key.

    Raises
    ------
    NotInstalled
    """
    try:
        from cryptography.fernet import Fernet  # noqa: PLC0415 - an extra
    except ImportError:
        raise NotInstalled("a table of old identities", "cryptography", "deidentify") from None
    return Fernet(base64.urlsafe_b64encode(key.derived("mapping")))


def sealed(pairs: Iterable[tuple[str, str]], key: Key) -> bytes:
    """Encrypt rows of a table as one line."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(pairs)
    token: bytes = cipher(key).encrypt(text.getvalue().encode("utf-8", "surrogateescape"))
    return token + b"\n"


def join(parts: Iterable[Path], target: Path, key: Key) -> None:
    """Merge the rows of parts into one table, each pair once."""
    seen: set[tuple[str, str]] = set()
    with target.open("wb") as out:
        os.fchmod(out.fileno(), 0o600)
        for part in parts:
            new_pairs = [pair for pair in _decrypted(part, key) if pair not in seen]
            seen.update(new_pairs)
            if new_pairs:
                out.write(sealed(new_pairs, key))


def read(path: Path, key: Key) -> Iterator[tuple[str, str]]:
    """Decrypt a table; yield pairs of old and new identifier.

    Raises
    ------
    SourceNotFound
    UsageError
        It is not such a table, or is encrypted with another key.
    """
    if not path.is_file():
        raise SourceNotFound(str(path))
    yield from _decrypted(path, key)


def _decrypted(path: Path, key: Key) -> Iterator[tuple[str, str]]:
    decrypter = cipher(key)
    with path.open("rb") as file:
        yield from _decrypted_lines(file, decrypter, path)


def _decrypted_lines(file: IO[bytes], decrypter: Any, path: Path) -> Iterator[tuple[str, str]]:
    from cryptography.fernet import InvalidToken  # noqa: PLC0415

    for line in file:
        try:
            text = decrypter.decrypt(line.strip()).decode("utf-8", "surrogateescape")
        except InvalidToken:
            raise UsageError(f"{path.name} is not a table of identities of this key") from None
        yield from ((old, new) for old, new in csv.reader(io.StringIO(text)))
