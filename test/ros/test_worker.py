"""One thread: the newest item wins, items and questions take turns, errors do not end it."""

import threading

import pytest

from distillnerf_ros.errors import QueryError
from distillnerf_ros.ros.worker import Worker


class Slow:
    """Processes items one by one, each when it is let."""

    def __init__(self):
        self.seen = []
        self.entered = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def __call__(self, item):
        self.entered.release()
        assert self.let.acquire(timeout=5)
        self.seen.append(item)


@pytest.fixture
def slow():
    return Slow()


@pytest.fixture
def worker(slow):
    errors = []
    worker = Worker(slow, errors.append)
    worker.errors = errors
    yield worker
    slow.let.release(100)
    worker.stop()


def test_the_newest_item_wins_and_replaced_ones_are_counted(worker, slow):
    worker.offer(1)
    assert slow.entered.acquire(timeout=5)
    for item in (2, 3, 4):
        worker.offer(item)
    slow.let.release(2)
    assert slow.entered.acquire(timeout=5)
    assert worker.ask(lambda: list(slow.seen)).result(5) == [1, 4]
    assert worker.replaced == 2


def test_a_question_goes_before_a_waiting_item(worker, slow):
    worker.offer(1)
    assert slow.entered.acquire(timeout=5)
    worker.offer(2)
    answer = worker.ask(lambda: list(slow.seen))
    slow.let.release(1)
    assert answer.result(5) == [1]


def test_questions_without_end_leave_every_other_turn_to_items(worker, slow):
    """Three clients that ask again as soon as they are answered must not stop the cameras."""
    slow.let.release(1000)
    asked = []

    def ask_again(_=None):
        if len(asked) < 60:
            asked.append(len(slow.seen))
            worker.offer(len(asked))
            worker.ask(lambda: None).add_done_callback(ask_again)

    for _ in range(3):
        ask_again()
    while len(asked) < 60:
        pass
    assert asked[-1] >= 25


def test_the_asker_gets_the_error(worker):
    def fail():
        raise QueryError("no prompt")

    with pytest.raises(QueryError, match="no prompt"):
        worker.ask(fail).result(5)


def test_a_failing_item_does_not_end_the_thread():
    errors = []

    def process(item):
        if item == "bad":
            raise ValueError(item)

    worker = Worker(process, errors.append)
    worker.offer("bad")
    while not errors:
        pass
    assert worker.ask(lambda: 7).result(5) == 7
    worker.stop()
    assert [str(error) for error in errors] == ["bad"]


def test_stopping_cancels_what_waits(slow):
    worker = Worker(slow, lambda error: None)
    worker.offer(1)
    assert slow.entered.acquire(timeout=5)
    waiting = worker.ask(lambda: 1)
    threading.Timer(0.05, slow.let.release).start()
    worker.stop()
    assert waiting.cancelled()
    assert worker.ask(lambda: 1).cancelled()
