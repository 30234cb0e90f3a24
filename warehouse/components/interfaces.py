"""Algorithm interfaces: the input sockets and output sockets of an algorithm.

In: slugs. Out: an ``Interface``, which is identified by its two sets: the same sets are the same
interface. Interfaces are never removed. ``chosen`` selects the interface whose inputs are provided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from warehouse.components import ledger
from warehouse.components.checking import digest, now
from warehouse.components.socket_store import known_sockets
from warehouse.errors import ComponentError, UnknownSocket

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from warehouse.store.delta import Snapshot


@dataclass(frozen=True, slots=True)
class Interface:
    """One combination of inputs and outputs."""

    inputs: frozenset[str]
    outputs: frozenset[str]

    @property
    def interface_id(self) -> str:
        """Digest of both sets, which identifies the interface."""
        return digest("\n".join([*sorted(self.inputs), "", *sorted(self.outputs)]))[:32]

    def __str__(self) -> str:
        return f"({', '.join(sorted(self.inputs))}) → ({', '.join(sorted(self.outputs))})"


def require_interface(interface: Interface, known: Iterable[str]) -> None:
    """Check that both sets have known sockets only, and share none.

    Raises
    ------
    ComponentError, UnknownSocket
    """
    if not interface.inputs or not interface.outputs:
        raise ComponentError("an interface needs at least one input and one output")
    if both := interface.inputs & interface.outputs:
        raise ComponentError(f"sockets cannot be both input and output: {', '.join(sorted(both))}")
    available = set(known)
    if missing := (interface.inputs | interface.outputs) - available:
        raise UnknownSocket(min(missing), available)


def require_distinct(interfaces: Sequence[Interface]) -> None:
    """Check that no two interfaces of one algorithm take the same inputs.

    Raises
    ------
    ComponentError
    """
    inputs = [interface.inputs for interface in interfaces]
    if len(set(inputs)) != len(inputs):
        raise ComponentError("two interfaces of one algorithm take the same inputs")


def chosen(interfaces: Sequence[Interface], provided: Iterable[str]) -> Interface:
    """Return the interface whose inputs are exactly the sockets that are provided.

    Raises
    ------
    ComponentError
        There is none; the message lists the inputs of all.

    Examples
    --------
    >>> a = Interface(frozenset({"ct"}), frozenset({"nodules"}))
    >>> chosen([a], ["ct"]) is a
    True
    """
    wanted = frozenset(provided)
    for interface in interfaces:
        if interface.inputs == wanted:
            return interface
    known = "; ".join(", ".join(sorted(i.inputs)) for i in interfaces)
    raise ComponentError(
        f"no interface takes exactly {', '.join(sorted(wanted)) or 'no socket'}; there are: {known}"
    )


def known_interfaces(root: Path, snapshot: Snapshot | None = None) -> dict[str, Interface]:
    """Return every interface by its id."""
    rows = ledger.all_rows(root, snapshot, "algorithm_interfaces", "added_at")
    return {
        row["interface_id"]: Interface(frozenset(row["inputs"]), frozenset(row["outputs"]))
        for row in rows
    }


def add_interface(
    root: Path, inputs: Iterable[str], outputs: Iterable[str], *, reserved: bool = False
) -> Interface:
    """Return the interface of two sets, and store it if it is new.

    With ``reserved``, sockets that are reserved for evaluations or retired are allowed.

    Raises
    ------
    ComponentError, UnknownSocket, WriteFailed
    """
    interface = Interface(frozenset(inputs), frozenset(outputs))
    require_interface(interface, known_sockets(root, for_algorithms=not reserved))

    def make(base: Snapshot) -> Mapping[str, ledger.Rows]:
        if interface.interface_id in known_interfaces(root, base):
            return {}
        row: dict[str, Any] = {
            "interface_id": interface.interface_id, "inputs": sorted(interface.inputs),
            "outputs": sorted(interface.outputs), "added_at": now(),
        }  # fmt: skip
        return {"algorithm_interfaces": [row]}

    ledger.add_rows(root, make, "add interface")
    return interface
