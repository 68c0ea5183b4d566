"""A proxy between our clients and the sandbox that spoils chosen calls, before they arrive or after their work is done.

It shows itself in every address that the vendor mints, so that uploads and downloads pass through it as well. Calls
pass one at a time, so that the n-th one of a route is the same one in every run.
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
    """What happens to a call: an answer in the vendor's place, or what is left of the vendor's own."""

    name: str
    replacement: Reply | None = None
    alter_response: AlterResponse | None = None

    @property
    def reaches_vendor(self) -> bool:
        """Whether the vendor gets to see the call."""
        return self.replacement is None


@dataclass(frozen=True, slots=True)
class PlannedFault:
    """A fault, and at which calls of its route it strikes, from 1."""

    fault: Fault
    call_numbers: Container[int] = (1,)


class FaultProxy:
    """Stands before the sandbox at ``port``; ``route_of`` names the route of a call."""

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
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def to_proxy_url(self, url: str) -> str:
        """Return an address of the sandbox as it is here."""
        return url.replace(self._sandbox_url, self._server.url)

    def plan_faults(self, planned_faults: Mapping[str, PlannedFault]) -> None:
        """Strike so from now on, with the counts at their beginning."""
        self._planned_faults, self.call_counts, self.fault_counts = planned_faults, Counter(), Counter()

    @property
    def _sandbox_url(self) -> str:
        return f"http://127.0.0.1:{self._sandbox_port}"

    def _handle_request(self, request: ReceivedRequest) -> Reply:
        route = self._get_route(request)
        self.call_counts[route] += 1
        planned = self._planned_faults.get(route)
        if planned is None or self.call_counts[route] not in planned.call_numbers:
            return self._forward_request(request)
        self.fault_counts[route] += 1
        if planned.fault.replacement is not None:
            return planned.fault.replacement
        response = self._forward_request(request)
        return planned.fault.alter_response(response) if planned.fault.alter_response is not None else response

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
