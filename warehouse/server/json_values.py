"""Convert values of rows to JSON values. Pure functions."""

from __future__ import annotations

from typing import Any


def plain(value: Any) -> Any:
    """Return a value as JSON types: bytes in hexadecimal, and None for NaN and infinity."""
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {str(name): plain(item) for name, item in value.items()}
    return value.hex() if isinstance(value, bytes) else str(value)
