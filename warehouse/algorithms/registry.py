"""``Algorithm``: a versioned definition with interfaces and hardware requirements.

In: a name, an image or a Python function, pairs of sets of sockets. Out: an ``Algorithm``, stored
as a version that is never changed: made again with the same content it is the same one, with other
content the next one. A method of evaluation is an algorithm too.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import os
import re
from collections import defaultdict
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.algorithms.matching import require_matching
from warehouse.components import ledger
from warehouse.components.checking import now
from warehouse.components.interfaces import (
    Interface,
    add_interface,
    known_interfaces,
    require_distinct,
    require_interface,
)
from warehouse.components.socket_store import known_sockets
from warehouse.errors import AlgorithmError, UnknownAlgorithm
from warehouse.inputs import read_text
from warehouse.sqlfiles import sql_folder
from warehouse.store import delta
from warehouse.store.marker import require

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence

    from warehouse.store.delta import Snapshot

TABLES = (
    "artifact_events", "algorithm_versions", "algorithm_matching", "job_specs", "job_events",
)  # fmt: skip
"""Stored tables of this station."""

TIME_LIMIT_S = (300, 86_400)
"""Least and longest time that a job may have."""

MEMORY_GB = (4, 32)
"""Least and most memory that an algorithm may ask for."""

METHODS = ("exec", "invoke", "python", "external")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """One version of an algorithm."""

    algorithm: str
    """Its name."""
    version: int
    kind: str
    """``algorithm`` or ``evaluation``."""
    description: str
    image_id: str | None
    model_id: str | None
    function: str | None
    """``module:name`` or ``/path/file.py:name``."""
    code_sha256: str | None
    api_method: str
    interfaces: tuple[str, ...]
    """Identities of ``known_interfaces``."""
    time_limit_s: int
    requires_gpu_type: str
    requires_memory_gb: int
    added_at: dt.datetime
    added_by: str
    matching: tuple[tuple[str, str], ...] = ()
    """Socket and SQL condition of each series of a study that goes into a job; none for jobs of one
    series. Outputs are about the series of the first."""

    @property
    def content(self) -> tuple[Any, ...]:
        """What makes it another version."""
        row = asdict(self)
        names = [name for name in row if name not in {"version", "added_at", "added_by"}]
        return tuple(row[name] for name in names)


@dataclass(frozen=True, slots=True)
class Hardware:
    """A kind of machine and its price."""

    instance: str
    gpu_type: str
    gpu_count: int
    memory_gb: int
    cpu_count: int
    usd_cents_per_hour: float


@cache
def hardware() -> tuple[Hardware, ...]:
    """Return the machines of ``sql/rules/hardware.csv``."""
    rows = csv.DictReader(io.StringIO(read_text(sql_folder() / "rules" / "hardware.csv")))
    return tuple(
        Hardware(
            row["instance"], row["gpu_type"], int(row["gpu_count"]), int(row["memory_gb"]),
            int(row["cpu_count"]), float(row["usd_cents_per_hour"]),
        )
        for row in rows
    )  # fmt: skip


def cheapest(gpu_type: str, memory_gb: int) -> Hardware:
    """Return the cheapest machine with a kind of GPU, at most one of it, and enough memory.

    Raises
    ------
    AlgorithmError
        There is no such GPU or not so much memory.

    Examples
    --------
    >>> cheapest("", 8).instance
    'm7i.large'
    """
    known = sorted({machine.gpu_type for machine in hardware()} - {""})
    if gpu_type and gpu_type not in known:
        raise AlgorithmError(f"there is no GPU of type {gpu_type!r}; known: {', '.join(known)}")
    found = [
        machine for machine in hardware()
        if machine.gpu_type == gpu_type and machine.memory_gb >= memory_gb
        and machine.gpu_count <= 1
    ]  # fmt: skip
    if not found:
        raise AlgorithmError(
            f"no machine with {gpu_type or 'no'} GPU has {memory_gb} GiB and one GPU at most"
        )
    return min(found, key=lambda machine: machine.usd_cents_per_hour)


def parse_interface(text: str) -> tuple[list[str], list[str]]:
    """Return the inputs and outputs of an interface as it is typed.

    Raises
    ------
    AlgorithmError

    Examples
    --------
    >>> parse_interface("ct, age -> nodules")
    (['ct', 'age'], ['nodules'])
    """
    parts = text.replace("→", "->").split("->")
    if len(parts) != 2:
        raise AlgorithmError("an interface is written as 'input, input -> output, output'")
    sides = [[word.strip() for word in part.split(",") if word.strip()] for part in parts]
    return sides[0], sides[1]


def create_algorithm(
    root: Path, name: str, interfaces: Sequence[str | tuple[Sequence[str], Sequence[str]]], *,
    image_id: str | None = None, api_method: str | None = None, model_id: str | None = None,
    function: str | None = None, kind: str = "algorithm", description: str = "",
    time_limit_s: int = 3600, requires_gpu_type: str = "", requires_memory_gb: int = 8,
    matching: Mapping[str, str] | None = None, by: str = "",
) -> Algorithm:  # fmt: skip
    """Create an algorithm, or its next version if the content differs.

    Parameters
    ----------
    root
        Folder of a warehouse.
    name
        Lower-case letters, digits and ``-``.
    interfaces
        Each as ``"ct -> nodules"``, or a pair of lists of sockets. No two take the same inputs.
    image_id, api_method
        An image of ``artifacts``, and how it is asked.
    model_id
        Weights, which are unpacked to ``/opt/ml/model``.
    function
        Instead of an image: ``module:name`` or ``file.py:name``. With neither, somebody outside
        executes it.
    kind
        ``algorithm`` or ``evaluation``.
    time_limit_s
        300 to 86,400 seconds for a job.
    requires_gpu_type, requires_memory_gb
        What a job asks for: a GPU of ``hardware`` or none, 4 to 32 GiB.
    matching
        For jobs of several series of a study: socket → condition on ``series`` in SQL, which has to
        be true of one series of a study, such as ``{"ct": "Modality = 'CT'", …}``.

    Raises
    ------
    AlgorithmError, ComponentError, UnknownSocket
    """
    require(root)
    if not _NAME.fullmatch(name):
        raise AlgorithmError("the name of an algorithm has lower-case letters, digits and -")
    if kind not in {"algorithm", "evaluation"}:
        raise AlgorithmError(f"an algorithm is of kind algorithm or evaluation, not {kind!r}")
    if image_id and function:
        raise AlgorithmError("an algorithm is an image or a Python function, not both")
    require_wishes(time_limit_s, requires_gpu_type, requires_memory_gb)
    method = api_method or ("python" if function else "exec" if image_id else "external")
    if method not in METHODS:
        raise AlgorithmError(f"an algorithm is asked by {', '.join(METHODS)}, not {method!r}")
    pairs = [parse_interface(each) if isinstance(each, str) else each for each in interfaces]
    made = [Interface(frozenset(inputs), frozenset(outputs)) for inputs, outputs in pairs]
    if not made:
        raise AlgorithmError("an algorithm needs at least one interface")
    known = (
        known_sockets(root) if kind == "evaluation" else known_sockets(root, for_algorithms=True)
    )
    for each in made:
        require_interface(each, known)
    require_distinct(made)
    require_matching(root, matching or {}, made, known)
    code = None
    if function:
        function, code = _pinned(function)
    stored = [
        add_interface(root, each.inputs, each.outputs, reserved=kind == "evaluation")
        for each in made
    ]
    wanted = Algorithm(
        name, 1, kind, description, image_id, model_id, function, code, method,
        tuple(sorted(each.interface_id for each in stored)), time_limit_s, requires_gpu_type,
        requires_memory_gb, now(), by, tuple((matching or {}).items()),
    )  # fmt: skip
    done: list[Algorithm] = []

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        before = known_algorithms(root, base).get(name)
        if before is not None and before.content == wanted.content:
            done.append(before)
            return {}
        version = before.version + 1 if before else 1
        done.append(replace(wanted, version=version))
        row = asdict(wanted) | {"version": version, "interfaces": list(wanted.interfaces)}
        del row["matching"]
        conditions = [
            {"algorithm": name, "version": version, "place": place, "slug": slug, "condition": text}
            for place, (slug, text) in enumerate(wanted.matching)
        ]
        return {"algorithm_versions": [row], "algorithm_matching": conditions}

    ledger.add_rows(root, make, "create algorithm")
    return done[-1]


def require_wishes(time_limit_s: int, gpu_type: str, memory_gb: int) -> None:
    """Check what a job may ask for.

    Raises
    ------
    AlgorithmError
    """
    least, most = TIME_LIMIT_S
    if not least <= time_limit_s <= most:
        raise AlgorithmError(f"the time limit of a job is {least} to {most} s, not {time_limit_s}")
    least, most = MEMORY_GB
    if not least <= memory_gb <= most:
        raise AlgorithmError(f"the memory of a job is {least} to {most} GiB, not {memory_gb}")
    cheapest(gpu_type, memory_gb)


def known_algorithms(
    root: Path, snapshot: Snapshot | None = None, *, all_versions: bool = False
) -> dict[str, Algorithm]:
    """Return the newest version of every algorithm by name; with all, by ``name@version``."""
    current = snapshot or delta.snapshot(root)
    conditions: dict[tuple[str, int], list[tuple[str, str]]] = defaultdict(list)
    for one in ledger.all_rows(root, current, "algorithm_matching", "place"):
        conditions[one["algorithm"], one["version"]].append((one["slug"], one["condition"]))
    rows = ledger.all_rows(root, current, "algorithm_versions", "all")
    found = [
        Algorithm(
            **row | {"interfaces": tuple(row["interfaces"])},
            matching=tuple(conditions[row["algorithm"], row["version"]]),
        )
        for row in rows
    ]
    if all_versions:
        return {f"{each.algorithm}@{each.version}": each for each in found}
    return {each.algorithm: each for each in sorted(found, key=lambda each: each.version)}


def find_algorithm(root: Path, name: str, snapshot: Snapshot | None = None) -> Algorithm:
    """Return the newest version of an algorithm, or ``name@version``.

    Raises
    ------
    UnknownAlgorithm
    """
    require(root)
    known = known_algorithms(root, snapshot, all_versions="@" in name)
    if name not in known:
        raise UnknownAlgorithm(name, known)
    return known[name]


def interfaces_of(
    root: Path, algorithm: Algorithm, snapshot: Snapshot | None = None
) -> list[Interface]:
    """Return the interfaces of an algorithm, those with most inputs first."""
    known = known_interfaces(root, snapshot)
    found = [known[each] for each in algorithm.interfaces]
    return sorted(found, key=lambda each: (-len(each.inputs), each.interface_id))


# -- Python functions -----------------------------------------------------------------------------


def _pinned(function: str) -> tuple[str, str]:
    """Return where a function is, for any folder, and the digest of its code."""
    place, colon, name = function.rpartition(":")
    if not colon or not name.isidentifier():
        raise AlgorithmError("a function is named as module:name or file.py:name")
    if place.endswith(".py"):
        place = os.path.abspath(place)
    return f"{place}:{name}", code_digest(f"{place}:{name}")


def code_digest(function: str) -> str:
    """Return the digest of the file in which a function stands.

    Raises
    ------
    AlgorithmError
        There is no such file or module.
    """
    place = function.rpartition(":")[0]
    path = Path(place)
    if not place.endswith(".py"):
        try:
            found = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            found = None
        path = Path(found.origin) if found and found.origin else path
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        raise AlgorithmError(f"there is no module or file {place!r} with the function") from None
