"""A proxy between our clients and the sandbox that injects faults into chosen calls, before or after the work is done.

It replaces the sandbox's address by its own in every presigned URL, so that uploads and downloads pass through it too.
Calls pass one at a time, so that the n-th call of a route is the same one in every run.
"""

from __future__ import annotations

import http.client
from collections import Counter
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass
from types import TracebackType

from tests.servers.scripted_http_server import ReceivedRequest, Reply, Response, ScriptedServer

HOP_BY_HOP_HEADERS = ("connection", "content-length", "host", "transfer-encoding", "date", "server")
AlterResponse = Callable[[Response], Reply]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call: a reply instead of the vendor's response, or a changed vendor response."""

    name: str
    replacement: Reply | None = None
    alter_response: AlterResponse | None = None

    @property
    def reaches_vendor(self) -> bool:
        """Whether the call reaches the vendor."""
        return self.replacement is None


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault, and the numbers of the calls of its route that it affects, from 1."""

    fault: Fault
    call_numbers: Container[int] = (1,)


class FaultProxy:
    """A proxy in front of the sandbox at ``sandbox_port``; ``get_route`` returns the route of a request."""

    def __init__(self, sandbox_port: int, get_route: Callable[[ReceivedRequest], str]) -> None:
        self._sandbox_port, self._get_route = sandbox_port, get_route
        self._planned_faults: Mapping[str, PlannedFault] = {}
        self._server = ScriptedServer()
        self._server.set_handler(self._handle_request)
        self.call_counts: Counter[str] = Counter()
        self.fault_counts: Counter[str] = Counter()

    def __enter__(self) -> FaultProxy:
        self._server.__enter__()
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._server.__exit__(error_type, error, traceback)

    def to_proxy_url(self, url: str) -> str:
        """Return the URL of the proxy for a URL of the sandbox."""
        return url.replace(self._sandbox_url, self._server.url)

    def plan_faults(self, planned_faults: Mapping[str, PlannedFault]) -> None:
        """Inject these faults from now on; all counts start again at 0."""
        self._planned_faults, self.call_counts, self.fault_counts = planned_faults, Counter(), Counter()

    @property
    def _sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self._sandbox_port}"

    def _handle_request(self, request: ReceivedRequest) -> Reply:
        route = self._get_route(request)
        self.call_counts[route] += 1
        planned_fault = self._planned_faults.get(route)
        if planned_fault is None or self.call_counts[route] not in planned_fault.call_numbers:
            return self._forward_request(request)
        self.fault_counts[route] += 1
        if planned_fault.fault.replacement is not None:
            return planned_fault.fault.replacement
        response = self._forward_request(request)
        return (
            planned_fault.fault.alter_response(response) if planned_fault.fault.alter_response is not None else response
        )

    def _forward_request(self, request: ReceivedRequest) -> Response:
        connection = http.client.HTTPConnection("127.0.0.1", self._sandbox_port, timeout=30)
        headers = {name: value for name, value in request.headers.items() if name not in HOP_BY_HOP_HEADERS}
        connection.request(request.method, request.target, body=request.body or None, headers=headers)
        with connection.getresponse() as sandbox_response:
            body = sandbox_response.read().replace(self._sandbox_url.encode(), self._server.url.encode())
            response_headers = {
                name: value for name, value in sandbox_response.getheaders() if name.lower() not in HOP_BY_HOP_HEADERS
            }
        connection.close()
        return Response(sandbox_response.status, body, response_headers)
