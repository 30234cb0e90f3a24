"""A listener on a free port, and application entities that talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynetdicom")


import warehouse
from warehouse.listener.listener import Listener
from warehouse.listener.settings import ListenerSettings


@pytest.fixture
def wh(tmp_path: Path) -> warehouse.Warehouse:
    """An empty warehouse."""
    return warehouse.open(tmp_path / "w", create=True)


@pytest.fixture
def listening(
    wh: warehouse.Warehouse, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Listener]]:
    """Start listeners, which stop with the test, and soon. They ingest when the test says so."""
    monkeypatch.setattr("warehouse.listener.listener.TICK_SECONDS", 0.02)
    started: list[Listener] = []

    def start(spool: Path | None = None, **settings: Any) -> Listener:
        usual = {"port": 0, "ingest": False, "network_seconds": 10.0}
        started.append(Listener(wh, ListenerSettings(**usual | settings), spool))
        return started[-1]

    yield start
    for each in started:
        each.stop(hand_over=False)
