"""``Algorithm``: a versioned definition with interfaces and hardware requirements.

In: a name, an image or a Python function, and interfaces. Out: an ``Algorithm``, stored as an
immutable version: creating it again with the same content returns this version, with other content
the next one. A method of evaluation is an algorithm, too.
"""

from __future__ import annotations

import csv
import hashlib
import importlib.util
import io
import os
import re
import symtable
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
from warehouse.errors.root import near
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
"""Stored tables of this package."""

TIME_LIMIT_S = (300, 86_400)
"""Minimum and maximum time limit of a job in seconds."""

MEMORY_GB = (4, 32)
"""Minimum and maximum memory requirement of an algorithm in GiB."""

METHODS = ("exec", "invoke", "python", "external")
"""Values of ``api_method``: how an algorithm is executed."""

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")

_STAR_IMPORT = re.compile(rb"^\s*from\s.*import\s*\*", re.MULTILINE)


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
    """Ids of interfaces, see ``known_interfaces``."""
    time_limit_s: int
    requires_gpu_type: str
    requires_memory_gb: int
    added_at: dt.datetime
    added_by: str
    matching: tuple[tuple[str, str], ...] = ()
    """Socket and SQL condition of each series of a study that a job takes; empty for jobs of one
    series. Outputs are about the series of the first socket."""

    @property
    def content(self) -> tuple[Any, ...]:
        """All fields except version, time and author; if they differ, the version does."""
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
    """Return the cheapest machine with enough memory and at most one GPU, of this type or none.

    Raises
    ------
    AlgorithmError
        No machine has such a GPU or enough memory.

    Examples
    --------
    >>> cheapest("", 8).instance
    'm7i.large'
    """
    gpu_types = sorted({machine.gpu_type for machine in hardware()} - {""})
    if gpu_type and gpu_type not in gpu_types:
        raise AlgorithmError(f"there is no GPU of type {gpu_type!r}; known: {', '.join(gpu_types)}")
    suitable = [
        machine for machine in hardware()
        if machine.gpu_type == gpu_type and machine.memory_gb >= memory_gb
        and machine.gpu_count <= 1
    ]  # fmt: skip
    if not suitable:
        raise AlgorithmError(
            f"no machine with at most one GPU has {gpu_type or 'no'} GPU and {memory_gb} GiB"
        )
    return min(suitable, key=lambda machine: machine.usd_cents_per_hour)


def parse_interface(text: str) -> tuple[list[str], list[str]]:
    """Parse the text of an interface; return its inputs and outputs.

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
        Each as ``"ct -> nodules"``, or as a pair of lists of sockets. No two may have the same
        inputs.
    image_id, api_method
        An image of ``artifacts``, and how it is executed (``METHODS``).
    model_id
        Weights, which are mounted at ``/opt/ml/model``; of an evaluation, the ground truth.
    function
        Instead of an image: ``module:name`` or ``file.py:name``. Without image and function the
        jobs are executed outside of the warehouse.
    kind
        ``algorithm`` or ``evaluation``.
    time_limit_s
        Time limit of a job, 300 to 86,400 s.
    requires_gpu_type, requires_memory_gb
        Requirements of a job: a GPU type of ``hardware`` or none, and 4 to 32 GiB.
    matching
        For jobs of several series of a study: socket → SQL condition on ``series``, which must
        match exactly one series of a study, such as ``{"ct": "Modality = 'CT'", …}``.

    Raises
    ------
    AlgorithmError, ComponentError, UnknownSocket
    """
    require(root)
    if not _NAME.fullmatch(name):
        raise AlgorithmError(
            f"name of algorithm {name!r} is invalid; use lower-case letters, digits and -"
        )
    if kind not in {"algorithm", "evaluation"}:
        raise AlgorithmError(f"kind {kind!r} is unknown; use algorithm or evaluation")
    if image_id and function:
        raise AlgorithmError("an algorithm is an image or a Python function, not both")
    require_job_limits(time_limit_s, requires_gpu_type, requires_memory_gb)
    method = api_method or ("python" if function else "exec" if image_id else "external")
    if method not in METHODS:
        raise AlgorithmError(f"api_method {method!r} is unknown; use one of {', '.join(METHODS)}")
    pairs = [parse_interface(each) if isinstance(each, str) else each for each in interfaces]
    parsed = [Interface(frozenset(inputs), frozenset(outputs)) for inputs, outputs in pairs]
    if not parsed:
        raise AlgorithmError("an algorithm needs at least one interface")
    known = (
        known_sockets(root) if kind == "evaluation" else known_sockets(root, for_algorithms=True)
    )
    for each in parsed:
        require_interface(each, known)
    require_distinct(parsed)
    require_matching(root, matching or {}, parsed, known)
    code_sha256 = None
    if function:
        function, code_sha256 = _resolved_function(function)
    stored = [
        add_interface(root, each.inputs, each.outputs, reserved=kind == "evaluation")
        for each in parsed
    ]
    new = Algorithm(
        name, 1, kind, description, image_id, model_id, function, code_sha256, method,
        tuple(sorted(each.interface_id for each in stored)), time_limit_s, requires_gpu_type,
        requires_memory_gb, now(), by, tuple((matching or {}).items()),
    )  # fmt: skip
    results: list[Algorithm] = []

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        newest = known_algorithms(root, base).get(name)
        if newest is not None and newest.content == new.content:
            results.append(newest)
            return {}
        version = newest.version + 1 if newest else 1
        results.append(replace(new, version=version))
        row = asdict(new) | {"version": version, "interfaces": list(new.interfaces)}
        del row["matching"]
        conditions = [
            {"algorithm": name, "version": version, "place": index, "slug": slug, "condition": text}
            for index, (slug, text) in enumerate(new.matching)
        ]
        return {"algorithm_versions": [row], "algorithm_matching": conditions}

    ledger.add_rows(root, make, "create algorithm")
    return results[-1]


def require_job_limits(time_limit_s: int, gpu_type: str, memory_gb: int) -> None:
    """Check the time limit and hardware requirements of a job.

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
    """Return the newest version of each algorithm by name, or all by ``name@version``."""
    current = snapshot or delta.snapshot(root)
    conditions: dict[tuple[str, int], list[tuple[str, str]]] = defaultdict(list)
    for condition in ledger.all_rows(root, current, "algorithm_matching", "place"):
        conditions[condition["algorithm"], condition["version"]].append(
            (condition["slug"], condition["condition"])
        )
    rows = ledger.all_rows(root, current, "algorithm_versions", "all")
    algorithms = [
        Algorithm(
            **row | {"interfaces": tuple(row["interfaces"])},
            matching=tuple(conditions[row["algorithm"], row["version"]]),
        )
        for row in rows
    ]
    if all_versions:
        return {f"{algorithm.algorithm}@{algorithm.version}": algorithm for algorithm in algorithms}
    return {
        algorithm.algorithm: algorithm
        for algorithm in sorted(algorithms, key=lambda algorithm: algorithm.version)
    }


def find_algorithm(root: Path, name: str, snapshot: Snapshot | None = None) -> Algorithm:
    """Return an algorithm by ``name`` (its newest version) or ``name@version``.

    Raises
    ------
    UnknownAlgorithm
    """
    require(root)
    algorithms = known_algorithms(root, snapshot, all_versions="@" in name)
    if name not in algorithms:
        raise UnknownAlgorithm(name, algorithms)
    return algorithms[name]


def interfaces_of(
    root: Path, algorithm: Algorithm, snapshot: Snapshot | None = None
) -> list[Interface]:
    """Return the interfaces of an algorithm, sorted by number of inputs, largest first."""
    known = known_interfaces(root, snapshot)
    interfaces = [known[each] for each in algorithm.interfaces]
    return sorted(interfaces, key=lambda each: (-len(each.inputs), each.interface_id))


# -- Python functions -----------------------------------------------------------------------------


def _resolved_function(function: str) -> tuple[str, str]:
    """Return a function with its file as absolute path, and the SHA-256 of its file."""
    location, colon, name = function.rpartition(":")
    if not colon or not name.isidentifier():
        raise AlgorithmError(f"function {function!r} is invalid; write module:name or file.py:name")
    if location.endswith(".py"):
        location = os.path.abspath(location)
    digest = code_digest(f"{location}:{name}")
    _require_name(_code_file(location), location, name)
    return f"{location}:{name}", digest


def _require_name(path: Path, location: str, name: str) -> None:
    """Check, without running it, that the code of a module can bind a name.

    Raises
    ------
    AlgorithmError
    """
    if path.suffix != ".py":
        return
    code = path.read_bytes()
    try:
        symbols = symtable.symtable(code, str(path), "exec").get_symbols()  # type: ignore[arg-type]
    except (SyntaxError, ValueError):
        raise AlgorithmError(f"{location!r} is not Python code; correct it") from None
    bound = {each.get_name() for each in symbols if each.is_assigned() or each.is_imported()}
    functions = {each.get_name() for each in symbols if each.is_namespace()}
    if not {name, "__getattr__"} & (bound | functions) and not _STAR_IMPORT.search(code):
        raise AlgorithmError(f"{location!r} has no function {name!r}; {near(name, functions)}")


def code_digest(function: str) -> str:
    """Return the SHA-256 of the file that contains a function.

    Raises
    ------
    AlgorithmError
        The file or module does not exist.
    """
    location = function.rpartition(":")[0]
    try:
        return hashlib.sha256(_code_file(location).read_bytes()).hexdigest()
    except OSError:
        raise AlgorithmError(
            f"the module or file {location!r} of the function does not exist"
        ) from None


def _code_file(location: str) -> Path:
    """Return the file of a module, or of a path that ends in .py; it may not exist."""
    if location.endswith(".py"):
        return Path(location)
    try:
        spec = importlib.util.find_spec(location)
    except (ImportError, ValueError):
        spec = None
    return Path(spec.origin if spec and spec.origin else location)
