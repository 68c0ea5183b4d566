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

from tests.integration.scripted_server import Answer, ScriptedServer, Seen, Step

BETWEEN_HOPS = ("connection", "content-length", "host", "transfer-encoding", "date", "server")
Spoil = Callable[[Answer], Step]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to a call: an answer in the vendor's place, or what is left of the vendor's own."""

    name: str
    instead: Step | None = None
    spoil: Spoil | None = None

    @property
    def is_after_work(self) -> bool:
        """Whether the vendor gets to see the call."""
        return self.instead is None


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault, and at which calls of its route it strikes, from 1."""

    fault: Fault
    calls: Container[int] = (1,)


class FaultProxy:
    """Stands before the sandbox at ``port``; ``route_of`` names the route of a call."""

    def __init__(self, port: int, route_of: Callable[[Seen], str]) -> None:
        self._port, self._route_of = port, route_of
        self._strikes: Mapping[str, Strike] = {}
        self._server = ScriptedServer()
        self._server.react(self._react)
        self.calls: Counter[str] = Counter()
        self.struck: Counter[str] = Counter()

    def __enter__(self) -> FaultProxy:
        self._server.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.__exit__(kind, error, trace)

    def address(self, url: str) -> str:
        """Return an address of the sandbox as it is here."""
        return url.replace(self._origin, self._server.url)

    def plan(self, strikes: Mapping[str, Strike]) -> None:
        """Strike so from now on, with the counts at their beginning."""
        self._strikes, self.calls, self.struck = strikes, Counter(), Counter()

    @property
    def _origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _react(self, seen: Seen) -> Step:
        route = self._route_of(seen)
        self.calls[route] += 1
        strike = self._strikes.get(route)
        if strike is None or self.calls[route] not in strike.calls:
            return self._forward(seen)
        self.struck[route] += 1
        if strike.fault.instead is not None:
            return strike.fault.instead
        answer = self._forward(seen)
        return strike.fault.spoil(answer) if strike.fault.spoil is not None else answer

    def _forward(self, seen: Seen) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {name: value for name, value in seen.headers.items() if name not in BETWEEN_HOPS}
        connection.request(seen.method, seen.target, body=seen.body or None, headers=headers)
        with connection.getresponse() as response:
            body = response.read().replace(self._origin.encode(), self._server.url.encode())
            kept = {name: value for name, value in response.getheaders() if name.lower() not in BETWEEN_HOPS}
        connection.close()
        return Answer(response.status, body, kept)
