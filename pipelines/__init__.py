"""Run the warehouse with Dagster: assets, jobs, schedules and sensors, without logic.

This package imports ``warehouse``; nothing in ``warehouse`` imports Dagster. An asset, check or
sensor passes settings to a function of the library and reports its result. ``sql/`` defines tables,
``warehouse/`` computes them: a loop over files, or a SELECT, belongs there and not in this package.

Modules, one per Dagster concept: ``resources``, ``partitions``, ``assets``, ``checks``, ``jobs``,
``maintenance``, ``schedules``, ``sensors``, and ``definitions``, which combines them; ``show``
formats the metadata of Dagster's pages. ``dagster.yaml`` configures the instance.

No module of this package imports annotations from ``__future__``: Dagster refuses a context whose
annotation is a string.
"""
