"""Orchestration by Dagster: assets, jobs, schedules and sensors, without logic.

Everything here imports ``warehouse``; nothing in ``warehouse`` knows of Dagster. An asset, a check
or a sensor hands settings to one function of the library and passes on what it returns. What a
table means stands in ``sql/``, how it is made in ``warehouse/``; if a change needs a loop over
files or a SELECT in this package, it belongs there.

Modules, one per Dagster concept: ``resources``, ``partitions``, ``assets``, ``checks``, ``jobs``,
``maintenance``, ``schedules``, ``sensors``, and ``definitions``, which puts them together; ``show``
writes the metadata that people look at. The instance is configured by ``dagster.yaml``.

No module of this package imports annotations from ``__future__``: Dagster refuses a context whose
annotation is a string.
"""
