"""Tables as assets. Keys, edges, descriptions and columns come from the headers in ``sql/``.

Stored tables are materialised, a batch at a time. Views are computed by DuckDB when somebody asks,
so they are assets that Dagster knows and does not run. ``instances`` is both made by ingest and
defined by the view ``instances_from_elements``, so it stands behind that view in the graph.
"""

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import dagster as dg

from pipelines.partitions import batches
from pipelines.resources import Intake
from warehouse.catalog.kept import keep_if_worthwhile
from warehouse.ingest import IngestReport, run_batch
from warehouse.sqlfiles import Model, read_models

VIEWS = {model.name: model for model in read_models() if model.is_view}
"""Every table and view of the catalog; macros are no assets."""


def table_spec(model: Model) -> dg.AssetSpec:
    """Return what the header of a model says, as Dagster puts it."""
    reads = [model.stores] if model.stores else [name for name in model.depends if name in VIEWS]
    columns = [dg.TableColumn(c.name, c.type, c.description) for c in model.columns]
    grain = dg.TableConstraints([f"one row per {', '.join(model.grain)}"])
    return dg.AssetSpec(
        model.name,
        deps=reads,
        description=model.description,
        group_name=model.layer,
        kinds={"deltalake", "parquet"} if model.table else {"duckdb", "sql"},
        metadata={"dagster/column_schema": dg.TableSchema(columns, grain)},
    )


@dg.multi_asset(
    name="stored_tables",
    specs=[table_spec(model) for model in VIEWS.values() if model.table],
    partitions_def=batches,
    # Runs of this pool wait for one another: each of them uses every processor already.
    pool="ingest",
)
def stored_tables(
    context: dg.AssetExecutionContext, intake: dg.ResourceParam[Intake]
) -> Iterator[dg.MaterializeResult[None]]:
    """Read the files of one batch, and replace its rows in every stored table in one commit."""
    report = run_batch(intake.root, context.partition_key, intake.settings)
    keep_if_worthwhile(intake.root)
    for key in sorted(context.selected_asset_keys):
        yield dg.MaterializeResult(asset_key=key, metadata=report_metadata(report))


views = [table_spec(model) for model in VIEWS.values() if not model.table]


def report_metadata(report: IngestReport) -> dict[str, Any]:
    """Return a report as Dagster shows it; rejects by path and reason, never by content."""
    rejects = [dg.TableRecord({"path": path, "reason": why}) for path, why in report.rejects]
    schema = dg.TableSchema([dg.TableColumn("path"), dg.TableColumn("reason")])
    return asdict(report) | {"rejects": dg.MetadataValue.table(rejects, schema)}
