"""A worker pool: threads that run actions concurrently, so that several calls to a vendor are awaited at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

Action = Callable[[], None]


class WorkSource(Protocol):
    """Provides the actions, and the time until the next one."""

    def find_next_action_or_wait(self) -> Action | float | None:
        """Return an action to run now, the seconds until there is one, or None when there is none.

        One thread calls this at a time. None is final only when no action is running, as that could create more.
        """
        ...

    def stop_running_actions(self) -> None:
        """Make running actions end soon: one of them failed, or the run was interrupted."""
        ...


class WorkerPool:
    """Runs the actions of a work source with ``worker_count`` threads, of which one is the caller's."""

    def __init__(self, worker_count: int) -> None:
        """Set the number of threads."""
        self._worker_count = worker_count
        self._condition = threading.Condition()
        self._running_actions = 0
        self._failure: BaseException | None = None

    def run_until_done(self, source: WorkSource) -> None:
        """Run actions until none is left; after a failure, wait for running actions and raise the first error.

        After a KeyboardInterrupt or SystemExit in the caller's thread, the other threads end with their current action.
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
        except BaseException as error:  # noqa: BLE001  ``run_until_done`` raises it in the caller's thread
            with self._condition:
                if self._failure is None or not isinstance(error, Exception):  # an interruption replaces an error
                    self._failure = error
                self._condition.notify_all()
            source.stop_running_actions()

    def _wait_for_action(self, source: WorkSource) -> Action | None:
        """Wait for the next action and return it; None when all is done or an action failed."""
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
