"""The keys of `--json` as docs/how-to/operate.md has them, for tests of commands."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "operate.md"


@cache
def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Return of each command in the table of the page: keys that are always there, and others."""
    found = {}
    lines = PAGE.read_text(encoding="utf-8").split("### Keys of `--json`")[1].splitlines()
    for line in lines[lines.index("| --- | --- |") + 1 :]:
        if not line.startswith("| `"):
            break
        names, keys = line.strip("| ").split(" | ")
        always, _, sometimes = keys.partition("; ")
        for name in re.findall("`([^`]+)`", names):
            found[name] = tuple(
                set(re.findall("`([a-z0-9_]+)`", part)) for part in (always, sometimes)
            )
    return found


def unlike_the_page(command: str, answer: Any) -> list[str]:
    """Return the keys of an answer that the page does not have, or has otherwise; none if all is well."""
    first = answer[0] if isinstance(answer, list) else answer
    always, sometimes = documented()[command]
    odd = {key for key in first if not re.fullmatch("[a-z][a-z0-9_]*", key)}
    return sorted(odd | (always - set(first)) | (set(first) - always - sometimes))
