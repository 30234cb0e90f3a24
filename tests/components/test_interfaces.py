"""Algorithm interfaces: sets of sockets that go in and come out."""

from __future__ import annotations

import pytest

import warehouse
from warehouse.components.interfaces import Interface, chosen, known_interfaces, require_distinct
from warehouse.errors import ComponentError, UnknownSocket


@pytest.mark.acceptance("G58")
def test_an_interface_is_its_two_sets(wh: warehouse.Warehouse) -> None:
    parts = wh.components
    for name in "abc":
        parts.create_socket(title=name, kind="INT", relative_path=f"{name}.json")
    first = parts.add_interface(["a", "b"], ["c"])
    assert parts.add_interface(["b", "a", "a"], ["c"]) == first
    assert set(known_interfaces(wh.root)) == {first.interface_id}
    assert wh.sql("select inputs, outputs from algorithm_interfaces").fetchall() == [
        (["a", "b"], ["c"])
    ]
    for inputs, outputs in (([], ["c"]), (["a"], []), (["a"], ["a", "b"])):
        with pytest.raises(ComponentError):
            parts.add_interface(inputs, outputs)
    with pytest.raises(UnknownSocket):
        parts.add_interface(["a"], ["nothing"])
    with pytest.raises(UnknownSocket):
        parts.add_interface(["a"], ["results-json-file"])
    same_inputs = Interface(first.inputs, frozenset({"other"}))
    with pytest.raises(ComponentError, match="same inputs"):
        require_distinct([first, same_inputs])
    require_distinct([first, Interface(frozenset({"a"}), frozenset({"c"}))])
    assert not hasattr(parts, "remove_interface")


@pytest.mark.acceptance("G59")
def test_the_interface_that_takes_exactly_what_is_provided() -> None:
    one = Interface(frozenset({"ct"}), frozenset({"nodules"}))
    two = Interface(frozenset({"ct", "age"}), frozenset({"nodules"}))
    assert chosen([one, two], ["age", "ct"]) is two
    assert chosen([one, two], ["ct"]) is one
    for provided in (["age"], ["ct", "age", "sex"], []):
        with pytest.raises(ComponentError, match="ct; age, ct"):
            chosen([one, two], provided)
