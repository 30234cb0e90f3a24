"""The application: every route, behind one door.

In: a warehouse and settings. Out: an ASGI application. Nothing of it is reached without passing
``Door``.
"""

from __future__ import annotations

from importlib import metadata
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from starlette.responses import Response

from warehouse.server import description, dicomweb, files, lists, questions, stow, viewer
from warehouse.server.access import Gate
from warehouse.server.asking import NotModified
from warehouse.server.door import Door
from warehouse.server.errors import handle
from warehouse.server.serving import Serving

if TYPE_CHECKING:
    from starlette.requests import Request

    from warehouse.api import Warehouse
    from warehouse.server.settings import ServerSettings


def create_app(warehouse: Warehouse, settings: ServerSettings) -> Door:
    """Return the application that answers for a warehouse.

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
    modules = (dicomweb, stow, files, questions, lists)
    app.state.routes = [route for module in modules for route in module.router.routes]
    for module in modules:
        app.include_router(module.router)
    description.add(app)

    @app.get("/health", include_in_schema=False)
    def health() -> dict[str, Any]:
        """Say that the server answers, and of which version."""
        return {"status": "ok", "version": app.state.serving.version().number}

    viewer.add(app, settings.viewer)
    return Door(app, settings, Gate(settings.tokens))


def _not_modified(_: Request, __: Exception) -> Response:
    return Response(status_code=304)
