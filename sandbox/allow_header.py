"""The methods of a path, which a 405 must list (RFC 9110, section 15.5.6)."""

from __future__ import annotations

from fastapi import Request
from starlette.routing import Match, Route


def build_allow_header(request: Request) -> str:
    """Return the methods that the application serves at the path of this request, as a value of the header Allow."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    matched_path = next((route.path for route in routes if route.matches(request.scope)[0] is not Match.NONE), None)
    return ", ".join(
        sorted({method for route in routes if route.path == matched_path for method in route.methods or ()})
    )
