"""Find uses of ids in a query other than joining and counting.

``instance_id`` and ``batch`` depend on the order in which files were ingested. In another warehouse
the same files may have other ids, so a cohort may only join by an id or count it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

IDS = frozenset({"instance_id", "batch"})

_COUNTING = "count"
_TOGETHER = frozenset({"row", "struct_pack", "list_value"})
"""Functions that combine an id with other values; the result, too, may only be counted."""
_SAME = frozenset({
    "COMPARE_EQUAL", "COMPARE_NOTEQUAL", "COMPARE_DISTINCT_FROM", "COMPARE_NOT_DISTINCT_FROM",
})  # fmt: skip
_OF_NOTHING = frozenset({"OPERATOR_IS_NULL", "OPERATOR_IS_NOT_NULL", "OPERATOR_NOT"})


def nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Yield every node of the tree, parents first."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node


def used_ids(tree: Any) -> list[str]:
    """Return the ids that a query computes with, compares, or uses to order a selection.

    Parameters
    ----------
    tree
        The query, as parsed by ``json_serialize_sql``.
    """
    every = list(nodes(tree))
    names = set(IDS)
    # An alias of an id counts as an id.
    while more := {name for node in every for name in _renamed(node, names)} - names - {""}:
        names |= more
    return sorted({name for node in every for name in _used(node, names)})


def _renamed(node: dict[str, Any], names: AbstractSet[str]) -> list[str]:
    """Return the aliases that a node gives to ids."""
    if _id_in(node, names):
        return [str(node.get("alias") or "").lower()]
    columns = node.get("column_name_alias") or node.get("aliases") or ()
    if not columns:
        return []
    lists = (each["select_list"] for each in nodes(node) if each.get("select_list"))
    selected: list[dict[str, Any]] = next(lists, [])
    if any(one.get("class") == "STAR" for one in selected):
        return [str(name).lower() for name in columns]
    pairs = zip(columns, selected, strict=False)
    return [str(name).lower() for name, one in pairs if _id_in(one, names)]


def _id_in(node: Any, names: AbstractSet[str]) -> str:
    """Return the name of an id in an expression; empty if there is none."""
    if not isinstance(node, dict):
        return ""
    if node.get("class") == "COLUMN_REF":
        name = str(node["column_names"][-1]).lower()
        return name if name in names else ""
    if str(node.get("function_name", "")).lower() in _TOGETHER:
        return next(filter(None, (_id_in(_expression(child), names) for child in _given(node))), "")
    return ""


def _given(node: dict[str, Any]) -> list[Any]:
    """Return the arguments of a function or window; DuckDB uses two different names for them."""
    return list(node.get("children") or node.get("arguments") or ())


def _expression(child: Any) -> Any:
    return child.get("expression", child) if isinstance(child, dict) else child


def _orders(node: dict[str, Any]) -> list[Any]:
    """Return the ORDER BY of a node that limits or numbers rows."""
    modifiers = node.get("modifiers") or ()
    takes = any(
        "LIMIT" in modifier["type"] or modifier.get("distinct_on_targets") for modifier in modifiers
    )
    orders = [order for modifier in modifiers if takes for order in modifier.get("orders") or ()]
    if node.get("class") in {"FUNCTION", "WINDOW"}:
        orders += node.get("orders") or ()
        orders += node.get("arg_orders") or ()
        orders += (node.get("order_bys") or {}).get("orders") or ()
    return orders


def _used(node: dict[str, Any], names: AbstractSet[str]) -> list[str]:
    kind, what = node.get("class"), str(node.get("type"))
    function = str(node.get("function_name", "")).lower()
    if kind in {"FUNCTION", "WINDOW"}:
        children = [] if function in _TOGETHER | {_COUNTING} else _given(node)
    elif kind == "OPERATOR":
        children = [] if what in _OF_NOTHING else _given(node)
    elif kind == "CASE":
        checks = node.get("case_checks") or ()
        children = [*(part for check in checks for part in check.values()), node.get("else_expr")]
    elif kind in {"COMPARISON", "BETWEEN", "CAST"}:
        children = [child for child in node.values() if isinstance(child, dict)]
    else:
        children = []
    children = [_expression(child) for child in [*children, *_orders(node)]]
    found = [name for child in children if (name := _id_in(child, names))]
    is_same = what in _SAME or what in {"COMPARE_IN", "COMPARE_NOT_IN"}
    return [] if is_same and len(found) == len(children) else found
