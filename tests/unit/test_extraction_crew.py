"""A crew works off whatever plan: each action once, side by side, and nobody is left behind when something happens."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invoices.extraction.patience.crew import Action, Crew


class Boom(Exception):
    """What an action raises here."""


@dataclass
class Task:
    """Something to do: at first, or when others are done; it may fail."""

    follows: list[Task] = field(default_factory=list)
    after: float = 0.0  # seconds
    fails: bool = False


class Tree:
    """A plan of tasks; a task's followers are known only when it is done."""

    def __init__(self, tasks: list[Task]) -> None:
        self.waiting = [(time.monotonic() + task.after, task) for task in tasks]
        self.done: list[Task] = []
        self.abandoned = 0
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    def next(self) -> Action | float | None:
        with self._lock:
            if not self.waiting:
                return None
            self.waiting.sort(key=lambda due: due[0])
            due, task = self.waiting[0]
            if due > time.monotonic():
                return due - time.monotonic() + 0.0001
            self.waiting.pop(0)
            return lambda: self._do(task)

    def abandon(self) -> None:
        self.abandoned += 1

    def _do(self, task: Task) -> None:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        threading.Event().wait(0.0005)
        with self._lock:
            self.at_once -= 1
            self.done.append(task)
            if task.fails:
                raise Boom(str(len(self.done)))
            self.waiting += [(time.monotonic() + follower.after, follower) for follower in task.follows]


def everything(tasks: list[Task]) -> list[Task]:
    return [found for task in tasks for found in (task, *everything(task.follows))]


afters = st.sampled_from([0.0, 0.0, 0.001, 0.003])
leaves = st.builds(Task, after=afters)
trees = st.lists(
    st.recursive(leaves, lambda inner: st.builds(Task, st.lists(inner, max_size=3), afters), max_leaves=12), max_size=6
)


@given(trees, st.integers(1, 5))
@settings(max_examples=40)
def test_every_plan_is_worked_off_each_task_once_and_nobody_is_left_behind(tasks: list[Task], size: int) -> None:
    threads = threading.active_count()
    plan = Tree(tasks)
    Crew(size).work(plan)
    assert sorted(map(id, plan.done)) == sorted(map(id, everything(tasks)))
    assert plan.most_at_once <= size
    assert threading.active_count() == threads
    assert plan.abandoned == 0


@given(trees, st.integers(1, 4), st.integers(0, 20))
@settings(max_examples=40)
def test_a_failure_ends_any_plan_is_raised_and_leaves_no_thread(tasks: list[Task], size: int, which: int) -> None:
    threads = threading.active_count()
    doomed = Task(fails=True)
    found = everything(tasks)
    (found[which % len(found)].follows if found else tasks).append(doomed)
    plan = Tree(tasks)
    with pytest.raises(Boom):
        Crew(size).work(plan)
    assert plan.done.count(doomed) == 1
    assert plan.abandoned >= 1
    assert threading.active_count() == threads


class Script:
    """A plan that hands out the same actions, each once."""

    def __init__(self, *actions: Action, abandon: Callable[[], None] = lambda: None) -> None:
        self._actions, self._abandon = list(actions), abandon

    def next(self) -> Action | float | None:
        return self._actions.pop(0) if self._actions else None

    def abandon(self) -> None:
        self._abandon()


def test_a_crew_of_one_works_in_the_callers_thread() -> None:
    who: list[threading.Thread] = []
    Crew(1).work(Script(*[lambda: who.append(threading.current_thread())] * 3))
    assert who == [threading.current_thread()] * 3


def test_a_crew_of_three_works_side_by_side() -> None:
    together = threading.Barrier(3, timeout=30)
    Crew(3).work(Script(*[lambda: together.wait() and None] * 3))


def test_a_plan_that_fails_itself_is_raised() -> None:
    class Broken(Script):
        def next(self) -> Action | float | None:
            raise Boom("plan")

    with pytest.raises(Boom, match="plan"):
        Crew(3).work(Broken())


def test_a_crew_works_again_after_a_failure() -> None:
    def fail() -> None:
        raise Boom

    crew = Crew(2)
    with pytest.raises(Boom):
        crew.work(Script(fail))
    done: list[int] = []
    crew.work(Script(lambda: done.append(1)))
    assert done == [1]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit])
def test_an_interruption_wakes_those_who_sleep_and_is_raised(interruption: type[BaseException]) -> None:
    asleep, halted = threading.Semaphore(0), threading.Event()

    def sleep() -> None:
        asleep.release()
        assert halted.wait(60)

    def interrupt() -> None:
        for _ in range(2):
            asleep.acquire()
        raise interruption

    with pytest.raises(interruption):
        Crew(3).work(Script(sleep, sleep, interrupt, abandon=halted.set))


@pytest.fixture
def _keys_are_heard() -> Iterator[None]:
    """Hear Ctrl-C also where whoever started the tests has it ignored, as a shell does in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_keys_are_heard")
def test_a_key_pressed_while_the_callers_thread_waits_ends_the_crew() -> None:
    class Waiting(Script):
        def next(self) -> Action | float | None:
            action = super().next()
            return action if action is not None else 3600.0

    def press() -> None:
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.05, signal.pthread_kill, (main, signal.SIGINT)).start()

    with pytest.raises(KeyboardInterrupt):
        Crew(3).work(Waiting(press))


def test_an_interruption_goes_before_an_error_that_came_first() -> None:
    failed = threading.Event()

    def fail() -> None:
        failed.set()
        raise Boom

    def interrupt() -> None:
        assert failed.wait(60)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Crew(2).work(Script(interrupt, fail))
