"""Children are watched, quoted when they fail, and ended in every case."""

import os
import signal
import time

import pytest

from distillnerf_ros.demo.processes import Child, Children
from distillnerf_ros.errors import ProcessError


@pytest.fixture
def start(tmp_path):
    """Starts a script as a child."""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def make(name, code):
        (tmp_path / f"{name}.py").write_text(code)
        return Child(name, name, ["word"], tmp_path / "logs" / f"{name}.log", environment)

    return make


WAITS = "import time\nprint('up')\ntime.sleep(60)"


def ready(child):
    return lambda: "up" in child.log.read_text()


@pytest.mark.parametrize("own", [signal.default_int_handler, signal.SIG_IGN])
def test_leaving_the_block_interrupts_a_child_that_works(start, own, request):
    """Also where this process was told to ignore interrupts, as what a script sends behind is."""
    before = signal.signal(signal.SIGINT, own)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    code = (
        "import time\ntry:\n    print('up')\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    print('tidied up')"
    )
    with Children() as children:
        child = children.add(start("polite", code))
        children.wait_until(ready(child), 30.0, "a word", child)
        assert child.running
    assert not child.running
    assert child.tail() == "up\ntidied up"
    assert signal.getsignal(signal.SIGINT) is own


def test_a_child_that_ignores_interrupts_is_ended(start, monkeypatch):
    from distillnerf_ros.demo import processes

    patience = ((signal.SIGINT, 0.3), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
    monkeypatch.setattr(processes, "_PATIENCE_S", patience)
    code = f"import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n{WAITS}"
    with Children() as children:
        child = children.add(start("deaf", code))
        children.wait_until(ready(child), 30.0, "a word", child)
    assert not child.running


def test_a_failure_of_any_child_is_told_with_its_last_words(start):
    with Children() as children:
        fine = children.add(start("fine", WAITS))
        children.add(start("broken", "print('before')\nraise SystemExit('no such camera')"))
        with pytest.raises(ProcessError, match=r"broken ended with status 1(.|\n)*no such camera"):
            children.wait_until(lambda: False, 30.0, "the end", fine)
    assert not fine.running


def test_a_child_that_keeps_us_waiting_is_named(start):
    with Children() as children:
        child = children.add(start("slow", WAITS))
        begin = time.monotonic()
        with pytest.raises(ProcessError, match="slow kept the demo waiting for a sign"):
            children.wait_until(lambda: False, 0.3, "a sign", child)
        assert time.monotonic() - begin < 5
