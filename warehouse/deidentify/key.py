"""``Key``: consistent pseudonyms, UIDs and date shifts derived from a secret.

In: a file with a secret. Out: ``Key``, which derives UIDs, pseudonyms and shifts of dates by HMAC.
A key gives the same identities in every export; without it they can be neither derived nor
reversed. The purpose of a value is part of the HMAC input.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import uuid
from base64 import b32encode
from dataclasses import dataclass
from typing import TYPE_CHECKING

from warehouse.dicom.dictionary import uids
from warehouse.errors import SourceNotFound, TargetExists, UsageError, cause_of

if TYPE_CHECKING:
    from pathlib import Path

SHORTEST = 32
"""Smallest size of a key file, in bytes."""
LONGEST = 1 << 16
_MOST_DAYS = 3650
STANDARD_UIDS = "1.2.840.10008."
"""Root of UIDs of the standard."""


def is_of_standard(uid: str) -> bool:
    """Return whether a UID is defined in PS3.6, and thus not identifying; the root is not enough.

    >>> is_of_standard("1.2.840.10008.1.2"), is_of_standard("1.2.840.10008.4711.19531225")
    (True, False)
    """
    return uid.startswith(STANDARD_UIDS) and uid in uids()


@dataclass(frozen=True, slots=True)
class Key:
    """Derives new identities from a secret, which is never shown."""

    _secret: bytes

    def __repr__(self) -> str:
        return "Key(…)"

    def _digest(self, purpose: str, text: str) -> bytes:
        content = f"{purpose}\0{text}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._secret, content, "sha256")

    def uid(self, old: str) -> str:
        """Return the new UID of an old one, or of each of several; UIDs of the standard are kept.

        >>> Key(b"k" * 32).uid("1.2.840.10008.1.2")
        '1.2.840.10008.1.2'
        """
        if "\\" in old:
            return "\\".join(self.uid(each) if each else "" for each in old.split("\\"))
        if is_of_standard(old):
            return old
        # A UUID of version 8, whose content the implementation defines: PS3.5 B.2.
        octets = bytearray(self._digest("uid", old)[:16])
        octets[6] = octets[6] & 0x0F | 0x80
        octets[8] = octets[8] & 0x3F | 0x80
        return f"2.25.{uuid.UUID(bytes=bytes(octets)).int}"

    def pseudonym(self, kind: str, old: str) -> str:
        """Return a pseudonym of 16 characters for a value, which differs by kind."""
        return b32encode(self._digest(kind, old)[:10]).decode().lower()

    def patient(self, patient: str) -> str:
        """Return the pseudonym of a patient, by ``patient_key``."""
        return f"p-{self.pseudonym('patient', patient)[:14]}"

    def days(self, patient: str) -> int:
        """Return the number of days by which dates of a patient are moved back, 1 to 3650."""
        return 1 + int.from_bytes(self._digest("days", patient)[:8], "big") % _MOST_DAYS

    def derived(self, purpose: str) -> bytes:
        """Return 32 bytes for another purpose, such as encryption."""
        return self._digest(f"key of {purpose}", "")

    @property
    def fingerprint(self) -> str:
        """Text that identifies the key without revealing it."""
        return self._digest("fingerprint", "").hex()[:16]


def random_key() -> Key:
    """Return a random key."""
    return Key(secrets.token_bytes(32))


def read_key(path: Path) -> Key:
    """Read a key from a file: any secret of 32 bytes or more.

    Raises
    ------
    SourceNotFound, UsageError
    """
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1).strip()
    except FileNotFoundError:
        raise SourceNotFound(str(path)) from None
    except OSError as error:
        wrong, advice = cause_of(error)
        raise UsageError(f"{path} cannot be read: {wrong}; {advice}") from None
    if not SHORTEST <= len(content) <= LONGEST or len(set(content)) < 8:
        raise UsageError(
            f"{path} is not a key: it needs {SHORTEST} to {LONGEST} random bytes; create "
            "one with dicom-warehouse deidentify key FILE"
        )
    return Key(hashlib.sha256(b"dicom-warehouse key\0" + content).digest())


def write_key(path: Path) -> None:
    """Write a new random key to a file that only its owner can read.

    Raises
    ------
    TargetExists, UsageError
    """
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise TargetExists(path, "a key is never replaced: choose another path") from None
    except OSError as error:
        wrong, advice = cause_of(error)
        raise UsageError(f"{path} cannot be written: {wrong}; {advice}") from None
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(f"{secrets.token_hex(32)}\n")
