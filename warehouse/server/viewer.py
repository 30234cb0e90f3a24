"""Serve a viewer at the root: OHIF if it is installed, else the built-in page.

In: a folder of files. Out: those files and nothing outside of it, each with a policy that lets a
browser load from this server only. No data are in them, so they need no token.
"""

from __future__ import annotations

import json
import mimetypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import FileResponse, Response

from warehouse.server.errors import problem
from warehouse.settings import user_cache

if TYPE_CHECKING:
    from fastapi import FastAPI

PAGE = Path(__file__).with_name("page")
_PLAIN = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
# A library with which OHIF overlays segmentations (ndarray) compiles code from text: without
# 'unsafe-eval' they are not shown.
_OHIF = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "worker-src 'self' blob:; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self' data: blob:; font-src 'self' data:; frame-ancestors 'none'"
)
_ISOLATED = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
}
_CONFIG: dict[str, Any] = {
    "name": "dicom-warehouse", "routerBasename": None, "extensions": [], "modes": [],
    # Otherwise an introductory tour covers the first image.
    "customizationService": [{"ohif.tours": {"$set": []}}],
    "showStudyList": True, "maxNumberOfWebWorkers": 2, "showWarningMessageForCrossOrigin": False,
    "strictZSpacingForVolumeViewport": True, "investigationalUseDialog": {"option": "never"},
    "defaultDataSourceName": "warehouse",
    "dataSources": [{
        "namespace": "@ohif/extension-default.dataSourcesModule.dicomweb",
        "sourceName": "warehouse",
        "configuration": {
            "friendlyName": "dicom-warehouse", "name": "warehouse", "qidoRoot": "/dicomweb",
            "wadoRoot": "/dicomweb", "wadoUriRoot": "/dicomweb", "qidoSupportsIncludeField": True,
            "supportsFuzzyMatching": True, "supportsWildcard": True, "imageRendering": "wadors",
            "thumbnailRendering": "thumbnail", "thumbnailRequestStrategy": "fetch",
            "enableStudyLazyLoad": True, "omitQuotationForMultipartRequest": True,
            "bulkDataURI": {"enabled": True},
        },
    }],
}  # fmt: skip

# OHIF itself takes a token from the address of a study only, not of the list of studies, and loses
# it when the page is loaded again. The key is that of the built-in page.
_SCRIPT = """window.config = ({ servicesManager }) => {
  const address = new URL(location.href);
  if (address.searchParams.has("token")) {
    sessionStorage.setItem("token", address.searchParams.get("token"));
    address.searchParams.delete("token");
    history.replaceState(null, "", address);
  }
  const token = sessionStorage.getItem("token");
  if (token) {
    // This is asked before there are services.
    const register = servicesManager.registerServices.bind(servicesManager);
    servicesManager.registerServices = (...given) => {
      register(...given);
      servicesManager.services.userAuthenticationService?.setServiceImplementation({
        getAuthorizationHeader: () => ({ Authorization: `Bearer ${token}` }),
      });
    };
  }
  return %s;
};
"""


def installed() -> Path | None:
    """Return where ``viewer install`` puts OHIF, if it has."""
    folder = user_cache()
    found = folder / "viewer" if folder else None
    return found if found is not None and (found / "index.html").is_file() else None


def add(app: FastAPI, folder: Path | None) -> None:
    """Serve a viewer at the root of an application, after all its other routes."""
    ohif = folder or installed()

    @app.get("/app-config.js", include_in_schema=False)
    def config() -> Response:
        text = _SCRIPT % json.dumps(_CONFIG)
        return Response(text, media_type="text/javascript", headers=_ISOLATED)

    @app.get("/plain/{path:path}", include_in_schema=False)
    def plain(path: str) -> Response:
        return _file(PAGE, path, _PLAIN)

    @app.get("/{path:path}", include_in_schema=False)
    def root(path: str) -> Response:
        if ohif is not None:
            return _file(ohif, path, _OHIF)
        return _file(PAGE, path, _PLAIN)


def _file(folder: Path, path: str, policy: str) -> Response:
    """Return a file of a folder; a path of a page that has none is the page itself."""
    headers = {"Content-Security-Policy": policy, **_ISOLATED}
    found = (folder / path).resolve()
    if found.is_file() and found.is_relative_to(folder.resolve()):
        kind = mimetypes.guess_type(found.name)[0] or "application/octet-stream"
        return FileResponse(found, media_type=kind, headers=headers)
    if (
        "." in path.rpartition("/")[2]
        or path.startswith(("api", "dicomweb"))
        or (folder == PAGE and path)
    ):
        # A missing script must not be answered with the page.
        return problem(404, "NotFound", "there is no such address")
    return FileResponse(folder / "index.html", media_type="text/html", headers=headers)
