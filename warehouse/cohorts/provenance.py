"""The provenance of an export, and its verification.

In: a run, or an export. Out: the provenance that every export has, always in ``FILE.cohort.json``
beside the file and, if the format allows, in the file as well; for a verification, the problems
found when all files are hashed again.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.cohorts.runs import package_version
from warehouse.errors import SourceNotFound, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from warehouse.cohorts.runs import Run

ABOUT = "cohort.json"
MANIFEST = "manifest.csv"
DOCUMENTS = "documents"
"""Format whose files are not the members themselves but documents inside some of them."""
MANIFEST_FIELDS = ("name", "instance_key", "size_bytes", "sha256", "modified_us")
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Verified:
    """Result of verifying an export."""

    digest: str
    """Digest of the exported run."""
    files: int
    problems: tuple[str, ...]
    """One line per problem; empty if all files are unchanged."""


def provenance(run: Run, form: str, exported_version: int) -> dict[str, Any]:
    """Return the provenance of an export, which does not depend on the time of the export."""
    return {
        "run": run.run,
        "cohort": run.cohort,
        "digest": run.digest,
        "sql_sha256": run.sql_sha256,
        "parameters": run.parameters,
        "counts": run.counts,
        "run_made_at": run.made_at,
        "run_warehouse": run.warehouse,
        "exported_version": exported_version,
        "package_version": package_version(),
        "format": form,
    }


def text(facts: dict[str, Any]) -> str:
    """Return the provenance as JSON in a canonical form."""
    return json.dumps(facts, indent=1, ensure_ascii=False, sort_keys=True, allow_nan=False) + "\n"


def sidecar(target: Path) -> Path:
    """Return the path of the sidecar of an exported file."""
    return target.with_name(f"{target.name}.{ABOUT}")


def sha256_of(path: str | os.PathLike[str] | bytes) -> str:
    """Return the sha256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def verify(target: Path) -> Verified:
    """Hash an export again and compare it with its provenance.

    Raises
    ------
    SourceNotFound
    UsageError
        The export has no provenance to compare with.
    """
    if not os.path.exists(target):
        raise SourceNotFound(str(target))
    about = target / ABOUT if target.is_dir() else sidecar(target)
    try:
        facts = json.loads(about.read_text(encoding="utf-8"))
        digest = facts["digest"]
        wanted = facts["manifest_sha256" if target.is_dir() else "sha256"]
    except (OSError, ValueError, LookupError, TypeError):
        raise UsageError(
            f"{target} is not an export of a cohort: no readable {about.name}"
        ) from None
    if target.is_dir():
        # A file of a BIDS data set is not one instance, and not every member has a document.
        of_members = None if facts.get("format") in {"bids", DOCUMENTS} else digest
        problems, files = _tree(target, wanted, of_members, facts.get("beside", {}))
    else:
        files = 1
        same = sha256_of(target) == wanted
        problems = () if same else (f"{target.name}: other content than was written",)
    return Verified(digest, files, problems)


def _tree(
    folder: Path, manifest_sha256: str, digest: str | None, beside: dict[str, str]
) -> tuple[tuple[str, ...], int]:
    manifest = folder / MANIFEST
    if not manifest.is_file() or sha256_of(manifest) != manifest_sha256:
        return (f"{MANIFEST}: missing or changed, so nothing can be compared",), 0
    problems = []
    listed = set[str]()
    keys = hashlib.sha256()
    with manifest.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            listed.add(row["name"])
            keys.update(f"{row['instance_key']}\n".encode())
            if problem := _changed(folder / row["name"], row):
                problems.append(f"{row['name']}: {problem}")
    if digest is not None and keys.hexdigest() != digest:
        problems.append(f"{ABOUT}: another digest than that of the members")
    for name, sha256 in beside.items():  # not members, such as the audit of a de-identified export
        if problem := _changed(folder / name, {"sha256": sha256}):
            problems.append(f"{name}: {problem}")
    extra = sorted(set(_files(folder)) - listed - {ABOUT, MANIFEST} - set(beside))
    return tuple(problems + [f"{name}: was not exported" for name in extra]), len(listed)


def _changed(path: Path, row: dict[str, str]) -> str:
    """Return what is wrong with one file; for a link, compare size and time of its target."""
    try:
        status = path.stat()
        if row["sha256"]:
            return "" if sha256_of(path) == row["sha256"] else "other content than was written"
    except OSError:
        return "missing or unreadable"
    now = (str(status.st_size), str(status.st_mtime_ns // 1000))
    return "" if now == (row["size_bytes"], row["modified_us"]) else "its source has changed"


def _files(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        # os.walk lists a link to a folder among the folders and does not follow it.
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in names + links:
            yield os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/")
