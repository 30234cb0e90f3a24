"""Check Newick trees: balanced parentheses, labels, lengths and comments.

In: text. Out: nothing, or ``ValueRefused``. As in Grand Challenge, there may be several trees, and
labels and the last semicolon may be missing. Text without parentheses is refused; Biopython reads
any words as a tree.
"""

from __future__ import annotations

import re

from warehouse.errors import ValueRefused

_TOKEN = re.compile(
    r"""\s+
    | (?P<comment>\[[^\[\]]*\])
    | (?P<quoted>'(?:[^']|'')*')
    | (?P<mark>[(),:;])
    | (?P<word>[^\s()\[\]':;,]+)""",
    re.VERBOSE,
)
_WORD = re.compile(r"[\w.+\-|/#*=&%?!~^$<>]+")
_LENGTH = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def require_newick(text: str) -> None:
    """Check that a text is one or more Newick trees.

    Raises
    ------
    ValueRefused

    Examples
    --------
    >>> require_newick("((A:0.1,B:0.2),C);")
    >>> require_newick("((A,B),C;")
    Traceback (most recent call last):
    warehouse.errors.components.ValueRefused: ... a parenthesis is not closed
    """
    depth = position = trees = 0
    previous = ";"
    while position < len(text):
        token = _TOKEN.match(text, position)
        if token is None:
            raise ValueRefused("it is not a Newick tree: a quote or a bracket is not closed")
        position = token.end()
        kind = token.lastgroup
        if kind is None or kind == "comment":
            continue
        mark = token[0] if kind == "mark" else kind
        _require_order(previous, mark, token[0], depth)
        if mark == "(":
            trees += depth == 0
            depth += 1
        elif mark == ")":
            depth -= 1
        elif mark == ";" and depth:
            raise ValueRefused("it is not a Newick tree: a parenthesis is not closed")
        previous = mark
    if depth:
        raise ValueRefused("it is not a Newick tree: a parenthesis is not closed")
    if not trees:
        raise ValueRefused("it contains no Newick tree")


def _require_order(previous: str, mark: str, text: str, depth: int) -> None:
    """Check that a token may follow the token before it."""
    if mark == "(":
        fits = previous in {";", "(", ","}
    elif mark in {",", ")"}:
        fits = depth > 0 and previous != ":"
    elif mark == ":":
        fits = previous not in {":", ";"} and depth >= 0
    elif mark == ";":
        fits = previous not in {":", ";"}
    elif previous == ":":
        fits = mark == "word" and _LENGTH.fullmatch(text) is not None
    else:
        fits = previous in {"(", ",", ")"} and (mark == "quoted" or bool(_WORD.fullmatch(text)))
    if not fits:
        raise ValueRefused("it is not a Newick tree: it is malformed")
