"""A crew: threads that work off a plan, so that a vendor's answers are awaited side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

Action = Callable[[], None]


class Plan(Protocol):
    """What there is to do, and when."""

    def next(self) -> Action | float | None:
        """Return what to do now, the seconds until there is something, or None when nothing will come of itself.

        It is asked by one thread at a time. None is final only when no action is under way that could bring more.
        """
        ...

    def abandon(self) -> None:
        """Make what is under way end soon: somebody failed, or the run was interrupted."""
        ...


class Crew:
    """Works off plans with ``size`` threads; with one, everything happens in the caller's own."""

    def __init__(self, size: int) -> None:
        """Take the number of threads."""
        self._size = size
        self._turn = threading.Condition()
        self._busy = 0
        self._failure: BaseException | None = None

    def work(self, plan: Plan) -> None:
        """Return when the plan is worked off; raise what the first failing action raised, when the others have ended.

        A KeyboardInterrupt or SystemExit of the caller's thread ends the others after what they have in hand.
        """
        self._failure, self._busy = None, 0
        others = [threading.Thread(target=self._follow, args=(plan,), daemon=True) for _ in range(self._size - 1)]
        started = []
        try:
            for other in others:
                other.start()
                started.append(other)
            self._follow(plan)
        finally:
            for other in started:
                other.join()
        if self._failure is not None:
            raise self._failure

    def _follow(self, plan: Plan) -> None:
        try:
            while (action := self._next(plan)) is not None:
                self._do(action)
        except BaseException as error:  # noqa: BLE001  it is raised again by ``work``, in the caller's thread
            with self._turn:
                if self._failure is None or not isinstance(error, Exception):  # an interruption goes before all
                    self._failure = error
                self._turn.notify_all()
            plan.abandon()

    def _next(self, plan: Plan) -> Action | None:
        """Return the next action, waiting until there is one; None when all is done or somebody failed."""
        with self._turn:
            while self._failure is None:
                found = plan.next()
                if callable(found):
                    self._busy += 1
                    return found
                if found is None and self._busy == 0:
                    self._turn.notify_all()
                    return None
                self._turn.wait(found)
            return None

    def _do(self, action: Action) -> None:
        try:
            action()
        finally:
            with self._turn:
                self._busy -= 1
                self._turn.notify_all()
