"""One server over the sample warehouse for all tests that only read."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import warehouse
from tests.server.running import Client, running


@pytest.fixture(scope="session")
def client(
    sample: warehouse.Warehouse, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Client]:
    """A running server over ``sample``; its audit log is ``client.audit``."""
    audit = tmp_path_factory.mktemp("server") / "audit.jsonl"
    with running(sample, audit=audit) as made:
        made.audit = audit  # type: ignore[attr-defined]
        yield made
