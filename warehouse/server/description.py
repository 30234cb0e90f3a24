"""Serve ``/openapi.json``, and ``/docs``, a page without scripts and external resources.

In: the routes of an application. Out: OpenAPI 3.1, and HTML generated from it.
"""

from __future__ import annotations

import copy
import html
from typing import TYPE_CHECKING, Any

from fastapi.openapi.utils import get_openapi
from starlette.responses import HTMLResponse, JSONResponse

if TYPE_CHECKING:
    from fastapi import FastAPI

_METHODS = ("get", "post", "put", "delete")
_KEY = r"^[^\x00-\x1f\x7f-\x9f]+$"
_PATTERNS = {
    **dict.fromkeys(("study", "series", "instance", "key", "name", "attribute"), _KEY),
    **dict.fromkeys(("value_id", "job_id"), _KEY),
    "numbers": "^[1-9][0-9]{0,3}(,[1-9][0-9]{0,3})?$", "number": "^[1-9][0-9]{0,3}$",
    "place": "^[0-9A-F]{8}$",
}  # fmt: skip
"""Patterns of path parameters by name. A key is any text without control characters."""
_CSP = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_STYLE = """
body { font: 15px/1.5 sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em; }
code { background: #f2f2f2; padding: 0 .2em; } td { vertical-align: top; padding: 0 1em 0 0; }
details { margin: .3em 0; } summary { cursor: pointer; }
"""


def answers(*media: str) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route with these media types."""
    return {200: {"description": "", "content": {name: {} for name in media}}}


def parameter(name: str, schema: dict[str, Any], description: str) -> dict[str, Any]:
    """Return the OpenAPI description of a query parameter that a route parses itself."""
    return {"name": name, "in": "query", "schema": schema, "description": description}


def add(app: FastAPI) -> None:
    """Add ``/openapi.json`` and ``/docs`` to an application, after its other routes."""

    def schema() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _schema(app)
        return app.openapi_schema

    app.openapi = schema  # type: ignore[method-assign]

    @app.get("/openapi.json", include_in_schema=False)
    def openapi() -> JSONResponse:
        return JSONResponse(schema())

    @app.get("/docs", include_in_schema=False)
    def docs() -> HTMLResponse:
        return HTMLResponse(_html_page(schema()), headers={"Content-Security-Policy": _CSP})


def _schema(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    text = {"type": "string"}
    schemas["Problem"] = {
        "type": "object", "required": ["error", "message"],
        "properties": {"error": text, "message": text},
    }  # fmt: skip
    document["components"]["securitySchemes"] = {
        "bearer": {"type": "http", "scheme": "bearer"},
        "basic": {"type": "http", "scheme": "basic"},
    }
    document["security"] = [{"bearer": []}, {"basic": []}]
    for operations in document["paths"].values():
        for operation in operations.values():
            # A request that cannot be parsed is a 400, with the same body as every error.
            operation["responses"].pop("422", None)
            for parameter in operation.get("parameters", []):
                pattern = _PATTERNS.get(parameter["name"])
                if pattern and parameter["schema"].get("type") == "string":
                    parameter["schema"]["pattern"] = pattern
    paths = document["paths"]
    for table in ("values", "jobs"):
        # The path of POST hides `/{table}` for these lists, so it gets a copy of that operation.
        if path_item := paths.get(f"/api/v1/{table}"):
            listing = copy.deepcopy(paths["/api/v1/{table}"]["get"])
            listing["operationId"] += f"_{table}"
            listing["parameters"] = [p for p in listing["parameters"] if p["name"] != "table"]
            path_item["get"] = listing
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    return document


def _html_page(spec: dict[str, Any]) -> str:
    sections: dict[str, list[str]] = {}
    for path, operations in spec["paths"].items():
        for method, operation in operations.items():
            if method in _METHODS:
                tag = (operation.get("tags") or ["service"])[0]
                sections.setdefault(tag, []).append(_html_operation(method, path, operation))
    body = "".join(
        f"<h2>{html.escape(tag)}</h2>{''.join(shown)}" for tag, shown in sections.items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{spec['info']['title']}</title>"
        f"<style>{_STYLE}</style><h1>{spec['info']['title']} {spec['info']['version']}</h1>"
        "<p>For programs: <a href=openapi.json>openapi.json</a></p>"
        f"{body}</html>"
    )


def _html_operation(method: str, path: str, operation: dict[str, Any]) -> str:
    rows = "".join(
        f"<tr><td><code>{html.escape(parameter['name'])}</code><td>{parameter['in']}"
        f"<td>{html.escape(str(parameter.get('description') or ''))}</tr>"
        for parameter in operation.get("parameters", [])
    )
    text = html.escape(operation.get("description", ""))
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{html.escape(path)}</code></summary>"
        f"<p>{text}</p><table>{rows}</table></details>"
    )
