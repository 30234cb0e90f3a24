"""Define data tests as asset checks: one per file of ``sql/checks/``, on the first table it reads.

A failed check of severity ``error`` blocks the downstream assets of its table in the same run, as
they would be computed from contradictory rows; one of severity ``warn`` is about the source files
and does not block. Results contain the number of rows and the query, no values.
"""

from collections.abc import Iterator

import dagster as dg

from pipelines.resources import Intake
from warehouse.catalog.connect import Catalog, ask, open_catalog
from warehouse.sqlfiles import Model, read_checks

CHECKS = {model.name: model for model in read_checks()}


def check_spec(model: Model) -> dg.AssetCheckSpec:
    """Return the asset check spec of a data test, from its header."""
    # Only the first table: Dagster skips a check if a check of its other dependencies fails.
    return dg.AssetCheckSpec(
        model.name,
        asset=model.depends[0],
        description=model.description,
        blocking=model.severity == "error",
    )


@dg.multi_asset_check(
    name="checks", specs=[check_spec(model) for model in CHECKS.values()], can_subset=True
)
def checks(
    context: dg.AssetCheckExecutionContext, intake: dg.ResourceParam[Intake]
) -> Iterator[dg.AssetCheckResult]:
    """Run every selected check on the same version of the warehouse."""
    catalog = open_catalog(intake.root)
    for key in sorted(context.selected_asset_check_keys):
        yield check_result(catalog, CHECKS[key.name])


def check_result(catalog: Catalog, model: Model) -> dg.AssetCheckResult:
    """Return whether the SELECT of a check finds no row."""
    rows = ask(catalog, model.sql).shape[0]
    return dg.AssetCheckResult(
        asset_key=model.depends[0],
        check_name=model.name,
        passed=rows == 0,
        severity=dg.AssetCheckSeverity[model.severity.upper()],
        metadata={
            "rows": rows,
            "version": catalog.snapshot.version,
            "question": dg.MetadataValue.md(f"```sql\n{model.sql}\n```"),
        },
    )


@dg.asset_check(asset="socket_values", name="values_are_valid")
def values_are_valid(intake: dg.ResourceParam[Intake]) -> dg.AssetCheckResult:
    """Every stored value is valid for the newest version of its socket, and its file is intact.

    A failure states the JSON path of the first error of each socket, and no values.
    """
    components = intake.warehouse().components
    counts: dict[str, int] = {}
    errors: dict[str, str] = {}
    failed = 0
    for slug in components.sockets():
        report = components.check(slug)
        invalid = [result for result in report if result.why_not]
        failed += len(invalid)
        if report:
            counts[slug] = len(report)
        if invalid:
            errors[slug] = f"value {invalid[0].value_id}: {invalid[0].path}: {invalid[0].why_not}"
    return dg.AssetCheckResult(
        passed=not failed,
        metadata={
            "values": sum(counts.values()),
            "failed": failed,
            "sockets": dg.MetadataValue.json(counts),
            "first_errors": dg.MetadataValue.json(errors),
        },
    )
