"""Create the ASGI application: all routes, behind ``Door``.

In: a warehouse and settings. Out: an ASGI application; every request passes through ``Door``.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.responses import Response

from warehouse.server import (
    description,
    dicomweb,
    files,
    lists,
    questions,
    stow,
    values_and_jobs,
    viewer,
    wado,
)
from warehouse.server.access import Gate
from warehouse.server.asking import NotModified
from warehouse.server.door import Door
from warehouse.server.errors import handle
from warehouse.server.serving import Serving

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.requests import Request

    from warehouse.api import Warehouse
    from warehouse.listener.listener import Listener
    from warehouse.server.settings import ServerSettings


_PARTS = {
    "dicomweb": (dicomweb, wado, stow),
    "rest": (files, questions, values_and_jobs, lists),
}
"""Modules with the routes of each part of the service, in matching order."""


def create_app(
    warehouse: Warehouse, settings: ServerSettings, listeners: Sequence[Listener] = ()
) -> Door:
    """Create the application that serves a warehouse.

    Parameters
    ----------
    warehouse, settings
        The warehouse to serve, and how.
    listeners
        DICOM listeners of this process, whose state ``/api/v1/listeners`` returns.

    Raises
    ------
    NotAWarehouse, UsageError
    """
    app = FastAPI(
        title="dicom-warehouse", version=metadata.version("dicom-warehouse"),
        docs_url=None, redoc_url=None, openapi_url=None,
    )  # fmt: skip
    app.state.serving = Serving(warehouse, settings)
    handle(app, warehouse.root)
    app.add_exception_handler(NotModified, _not_modified)
    app.state.listeners = listeners
    modules = [
        module for part, part_modules in _PARTS.items() if part not in settings.without
        for module in part_modules
    ]  # fmt: skip
    app.state.routes = [route for module in modules for route in module.router.routes]
    for module in modules:
        app.include_router(module.router)
    description.add(app)

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, Any]:
        """Return the status of the server and the version that it serves."""
        return {"status": "ok", "version": app.state.serving.version().number}

    if "viewer" not in settings.without:
        viewer.add(app, settings.viewer)
    return Door(app, settings, Gate(settings.tokens))


def _not_modified(_: Request, __: Exception) -> Response:
    return Response(status_code=304)
