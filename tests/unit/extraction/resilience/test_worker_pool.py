"""The worker pool runs each action once, concurrently, and leaves no thread behind after a failure."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoices.extraction.resilience.worker_pool import Action, WorkerPool


class ActionFailed(Exception):
    """Raised by the actions of these tests."""


@dataclass
class Task:
    """A task that becomes due after a delay; it may fail, and its followers come after it."""

    followers: list[Task] = field(default_factory=list)
    delay_seconds: float = 0.0
    fails: bool = False


class TaskTree:
    """A work source of tasks; the followers of a task are only available when it is done."""

    def __init__(self, tasks: list[Task]) -> None:
        self.waiting_tasks = [(time.monotonic() + task.delay_seconds, task) for task in tasks]
        self.done_tasks: list[Task] = []
        self.stop_count = 0
        self.running_count = self.max_running_count = 0
        self._lock = threading.Lock()

    def find_next_action_or_wait(self) -> Action | float | None:
        with self._lock:
            if not self.waiting_tasks:
                return None
            self.waiting_tasks.sort(key=lambda due_task: due_task[0])
            due_at, task = self.waiting_tasks[0]
            if due_at > time.monotonic():
                return due_at - time.monotonic() + 0.0001
            self.waiting_tasks.pop(0)
            return lambda: self._run_task(task)

    def stop_running_actions(self) -> None:
        self.stop_count += 1

    def _run_task(self, task: Task) -> None:
        with self._lock:
            self.running_count += 1
            self.max_running_count = max(self.max_running_count, self.running_count)
        threading.Event().wait(0.0005)
        with self._lock:
            self.running_count -= 1
            self.done_tasks.append(task)
            if task.fails:
                raise ActionFailed(str(len(self.done_tasks)))
            self.waiting_tasks += [(time.monotonic() + follower.delay_seconds, follower) for follower in task.followers]


def list_all_tasks(tasks: list[Task]) -> list[Task]:
    return [listed for task in tasks for listed in (task, *list_all_tasks(task.followers))]


delays = st.sampled_from([0.0, 0.0, 0.001, 0.003])
leaves = st.builds(Task, delay_seconds=delays)
trees = st.lists(
    st.recursive(leaves, lambda inner: st.builds(Task, st.lists(inner, max_size=3), delays), max_leaves=12), max_size=6
)


@given(trees, st.integers(1, 5))
@settings(max_examples=40)
def test_each_task_runs_once_and_no_thread_is_left(tasks: list[Task], size: int) -> None:
    threads = threading.active_count()
    tree = TaskTree(tasks)
    WorkerPool(size).run_until_done(tree)
    assert sorted(map(id, tree.done_tasks)) == sorted(map(id, list_all_tasks(tasks)))
    assert tree.max_running_count <= size
    assert threading.active_count() == threads
    assert tree.stop_count == 0


@given(trees, st.integers(1, 4), st.integers(0, 20))
@settings(max_examples=40)
def test_a_failed_task_is_raised_and_leaves_no_thread(tasks: list[Task], size: int, which: int) -> None:
    threads = threading.active_count()
    doomed = Task(fails=True)
    all_tasks = list_all_tasks(tasks)
    (all_tasks[which % len(all_tasks)].followers if all_tasks else tasks).append(doomed)
    tree = TaskTree(tasks)
    with pytest.raises(ActionFailed):
        WorkerPool(size).run_until_done(tree)
    assert tree.done_tasks.count(doomed) == 1
    assert tree.stop_count >= 1
    assert threading.active_count() == threads


class FixedActions:
    """A work source that returns the given actions, each once."""

    def __init__(self, *actions: Action, stop_actions: Callable[[], None] = lambda: None) -> None:
        self._actions, self._stop_actions = list(actions), stop_actions

    def find_next_action_or_wait(self) -> Action | float | None:
        return self._actions.pop(0) if self._actions else None

    def stop_running_actions(self) -> None:
        self._stop_actions()


def test_a_pool_of_one_worker_runs_in_the_callers_thread() -> None:
    used_threads: list[threading.Thread] = []
    WorkerPool(1).run_until_done(FixedActions(*[lambda: used_threads.append(threading.current_thread())] * 3))
    assert used_threads == [threading.current_thread()] * 3


def test_a_pool_of_three_workers_runs_actions_concurrently() -> None:
    together = threading.Barrier(3, timeout=30)
    WorkerPool(3).run_until_done(FixedActions(*[lambda: together.wait() and None] * 3))


def test_an_error_of_the_work_source_is_raised() -> None:
    class Broken(FixedActions):
        def find_next_action_or_wait(self) -> Action | float | None:
            raise ActionFailed("plan")

    with pytest.raises(ActionFailed, match="plan"):
        WorkerPool(3).run_until_done(Broken())


def test_a_pool_can_be_used_again_after_a_failure() -> None:
    def raise_action_failed() -> None:
        raise ActionFailed

    worker_pool = WorkerPool(2)
    with pytest.raises(ActionFailed):
        worker_pool.run_until_done(FixedActions(raise_action_failed))
    done: list[int] = []
    worker_pool.run_until_done(FixedActions(lambda: done.append(1)))
    assert done == [1]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_stops_running_actions_and_is_raised(interruption: type[BaseException]) -> None:
    asleep, halted = threading.Semaphore(0), threading.Event()

    def wait_until_halted() -> None:
        asleep.release()
        assert halted.wait(60)

    def raise_interruption() -> None:
        for _ in range(2):
            asleep.acquire()
        raise interruption

    with pytest.raises(interruption):
        WorkerPool(3).run_until_done(
            FixedActions(wait_until_halted, wait_until_halted, raise_interruption, stop_actions=halted.set)
        )


@pytest.fixture
def _restore_keyboard_interrupt() -> Iterator[None]:
    """Handle Ctrl-C even if the tests were started with it ignored, as a shell does for background jobs."""
    previous_handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, previous_handler)


@pytest.mark.usefixtures("_restore_keyboard_interrupt")
def test_ctrl_c_while_the_callers_thread_waits_ends_the_pool() -> None:
    class Waiting(FixedActions):
        def find_next_action_or_wait(self) -> Action | float | None:
            action = super().find_next_action_or_wait()
            return action if action is not None else 3600.0

    def send_keyboard_interrupt() -> None:
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        WorkerPool(3).run_until_done(Waiting(send_keyboard_interrupt))


def test_an_interruption_replaces_an_earlier_error() -> None:
    failed = threading.Event()

    def raise_action_failed() -> None:
        failed.set()
        raise ActionFailed

    def raise_interruption() -> None:
        assert failed.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WorkerPool(2).run_until_done(FixedActions(raise_interruption, raise_action_failed))
