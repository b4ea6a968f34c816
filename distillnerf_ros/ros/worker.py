"""The one thread that runs the model: the newest glance, and questions in between."""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, Generic, TypeVar

T = TypeVar("T")
Answer = TypeVar("Answer")


class Worker(Generic[T]):
    """Processes the newest item offered, and questions asked meanwhile.

    An item that is offered while another one waits replaces it: a late answer is worth less than
    a fresh one. Questions are never dropped while the worker runs. Where both wait they take
    turns, a question first: neither eager askers nor a fast source starve the other.
    """

    def __init__(
        self, process: Callable[[T], None], on_error: Callable[[Exception], None]
    ) -> None:
        """Start the thread; errors of ``process`` go to ``on_error`` and the thread goes on."""
        self._process, self._on_error = process, on_error
        self._change = threading.Condition()
        self._newest: list[T] = []
        self._questions: deque[tuple[Callable[[], Any], Future[Any]]] = deque()
        self._answered_last = False
        self._running = True
        self.processed = 0
        self.replaced = 0
        self._thread = threading.Thread(target=self._run, name="inference", daemon=True)
        self._thread.start()

    def offer(self, item: T) -> None:
        """Hand in an item; it replaces one that still waits."""
        with self._change:
            self.replaced += len(self._newest)
            self._newest = [item]
            self._change.notify()

    def ask(self, question: Callable[[], Answer]) -> "Future[Answer]":
        """Run a question in the thread, between two items."""
        future: Future[Answer] = Future()
        with self._change:
            if not self._running:
                future.cancel()
                return future
            self._questions.append((question, future))
            self._change.notify()
        return future

    def stop(self) -> None:
        """Finish what is running, cancel the rest and end the thread."""
        with self._change:
            self._running = False
            self._newest = []
            for _, future in self._questions:
                future.cancel()
            self._questions.clear()
            self._change.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._questions or self._newest or not self._running)
                if not self._running:
                    return
                answering = bool(self._questions) and not (self._answered_last and self._newest)
                self._answered_last = answering
                if answering:
                    question = self._questions.popleft()
                else:
                    item = self._newest.pop()
            if answering:
                _answer(*question)
            else:
                self._handle(item)

    def _handle(self, item: T) -> None:
        try:
            self._process(item)
        except Exception as error:  # one bad glance must not end the thread
            self._on_error(error)
        self.processed += 1


def _answer(question: Callable[[], Any], future: Future[Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        future.set_result(question())
    except Exception as error:  # the asker gets it
        future.set_exception(error)
