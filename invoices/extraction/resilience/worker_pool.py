"""A crew: threads that work off a plan, so that a vendor's answers are awaited side by side."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

Action = Callable[[], None]


class WorkSource(Protocol):
    """What there is to do, and when."""

    def find_next_action_or_wait(self) -> Action | float | None:
        """Return what to do now, the seconds until there is something, or None when nothing will come of itself.

        It is asked by one thread at a time. None is final only when no action is under way that could bring more.
        """
        ...

    def stop_running_actions(self) -> None:
        """Make what is under way end soon: somebody failed, or the run was interrupted."""
        ...


class WorkerPool:
    """Works off plans with ``size`` threads; with one, everything happens in the caller's own."""

    def __init__(self, worker_count: int) -> None:
        """Take the number of threads."""
        self._worker_count = worker_count
        self._condition = threading.Condition()
        self._running_actions = 0
        self._failure: BaseException | None = None

    def run_until_done(self, source: WorkSource) -> None:
        """Return when the plan is worked off; raise what the first failing action raised, when the others have ended.

        A KeyboardInterrupt or SystemExit of the caller's thread ends the others after what they have in hand.
        """
        self._failure, self._running_actions = None, 0
        threads = [
            threading.Thread(target=self._run_worker, args=(source,), daemon=True)
            for _ in range(self._worker_count - 1)
        ]
        started_threads = []
        try:
            for thread in threads:
                thread.start()
                started_threads.append(thread)
            self._run_worker(source)
        finally:
            for thread in started_threads:
                thread.join()
        if self._failure is not None:
            raise self._failure

    def _run_worker(self, source: WorkSource) -> None:
        try:
            while (action := self._wait_for_action(source)) is not None:
                self._run_action(action)
        except BaseException as error:  # noqa: BLE001  it is raised again by ``work``, in the caller's thread
            with self._condition:
                if self._failure is None or not isinstance(error, Exception):  # an interruption goes before all
                    self._failure = error
                self._condition.notify_all()
            source.stop_running_actions()

    def _wait_for_action(self, source: WorkSource) -> Action | None:
        """Return the next action, waiting until there is one; None when all is done or somebody failed."""
        with self._condition:
            while self._failure is None:
                action_or_wait = source.find_next_action_or_wait()
                if callable(action_or_wait):
                    self._running_actions += 1
                    return action_or_wait
                if action_or_wait is None and self._running_actions == 0:
                    self._condition.notify_all()
                    return None
                self._condition.wait(action_or_wait)
            return None

    def _run_action(self, action: Action) -> None:
        try:
            action()
        finally:
            with self._condition:
                self._running_actions -= 1
                self._condition.notify_all()
