"""Sockets, values and annotations as assets, and a check that asks for every value again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import warehouse
from pipelines.checks import values_are_valid
from pipelines.definitions import build_definitions
from warehouse.components.examples import EXAMPLES


def the_check(done: Any) -> Any:
    (found,) = [
        check
        for check in done.get_asset_check_evaluations()
        if check.check_name == "values_are_valid"
    ]
    return found


@pytest.mark.acceptance("G68")
def test_lineage_is_that_of_the_sql(intake: Any) -> None:
    graph = build_definitions(intake).resolve_asset_graph()

    def above(name: str) -> set[str]:
        keys = graph.get(dg.AssetKey(name)).parent_keys
        return {key.to_user_string() for key in keys}

    assert above("sockets") == {"socket_versions", "kinds"}
    assert above("values_about") == {"value_uses", "socket_values", "instances"}
    assert above("annotations_about") == {"annotations", "values_about"}
    for name in ("socket_versions", "socket_values", "annotations"):
        assert graph.get(dg.AssetKey(name)).description


@pytest.mark.acceptance("G68")
def test_a_value_that_is_not_valid_fails_with_its_path(
    instance: Any, intake: Any, archive: Path
) -> None:
    # This check alone: with those of every other table a run takes three times as long.
    alone = dg.define_asset_job("alone", selection=dg.AssetSelection.checks(values_are_valid))
    definitions = dg.Definitions.merge(build_definitions(intake), dg.Definitions(jobs=[alone]))
    job = definitions.resolve_job_def("alone")

    def run() -> Any:
        return job.execute_in_process(instance=instance, raise_on_error=False)

    wh = warehouse.open(intake.root, create=True)
    wh.ingest(archive, workers=1)
    parts = wh.components
    parts.create_socket(title="Boxes", kind="M2DB", relative_path="boxes.json")
    parts.create_socket(title="Count", kind="INT", relative_path="n.json")
    added = parts.add_value("boxes", EXAMPLES["M2DB"])
    parts.add_value("count", 3)
    found = the_check(run())
    assert found.passed
    assert found.metadata["values"].value == 2
    names = {"properties": {"boxes": {"items": {"required": ["name"]}}}}
    parts.edit_socket("boxes", schema=names, even_if_values_fail=True)
    found = the_check(run())
    assert not found.passed
    errors = found.metadata["first_errors"].value
    assert list(errors) == ["boxes"]
    assert errors["boxes"].startswith(f"value {added.value_id}: $.boxes[1]: ")
