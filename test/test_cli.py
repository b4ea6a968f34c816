"""The command line finds its verbs without importing them, and explains what goes wrong."""

import importlib
import shlex
import subprocess
import sys
from types import ModuleType

import pytest

from distillnerf_ros import cli
from distillnerf_ros.errors import DatasetError


@pytest.fixture
def fake_verb(monkeypatch):
    """Put a module of the test's own in the place of ``check``; returns it."""
    module = ModuleType("fake")
    module.VERB_HELP = "help of the fake"
    module.EXAMPLE = "distillnerf check --speed 3"
    module.add_arguments = lambda parser: parser.add_argument("--speed", type=int, default=1)
    module.run = lambda args: args.speed
    monkeypatch.setattr(importlib, "import_module", lambda name: module)
    return module


def test_overview_lists_every_verb_and_imports_none():
    code = (
        "import sys\nfrom distillnerf_ros import cli\n"
        "try:\n    cli.main(['--help'])\nexcept SystemExit as end:\n    print(end.code)\n"
        "print(sorted({'torch', 'numpy', 'cv2', 'rclpy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    *text, status, imported = done.stdout.splitlines()
    assert (status, imported) == ("0", "[]")
    for name, (_, summary) in cli.VERBS.items():
        assert any(line.split() == [name, *summary.split()] for line in text)


@pytest.mark.parametrize("name", cli.VERBS)
def test_every_verb_shows_an_example_that_parses(name, capsys):
    module = importlib.import_module(cli.VERBS[name][0])
    parser = cli.verb_parser(name, module)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--help"])
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert module.EXAMPLE in shown
    assert module.VERB_HELP in parser.description
    words = shlex.split(module.EXAMPLE)
    assert words[:2] == ["distillnerf", name]
    assert vars(parser.parse_args(words[2:]))


def test_status_is_the_verbs_own(fake_verb):
    assert cli.main(["check", "--speed", "3"]) == 3


def test_foreseen_error_is_one_message_and_status_2(fake_verb, capsys):
    def run(args):
        raise DatasetError("no such folder; give another")

    fake_verb.run = run
    assert cli.main(["check"]) == cli.EXIT_ERROR == 2
    assert capsys.readouterr().err == "distillnerf check: no such folder; give another\n"


def test_a_file_that_cannot_be_written_is_one_message_too(fake_verb, tmp_path, capsys):
    fake_verb.run = lambda args: (tmp_path / "no" / "folder").write_text("")
    assert cli.main(["check"]) == cli.EXIT_ERROR
    error = capsys.readouterr().err
    assert error.startswith("distillnerf check: [Errno 2] No such file or directory: '")
    assert "no/folder" in error


def test_unforeseen_error_keeps_its_traceback(fake_verb):
    def run(args):
        raise ZeroDivisionError

    fake_verb.run = run
    with pytest.raises(ZeroDivisionError):
        cli.main(["check"])


def test_interrupt_is_130(fake_verb, capsys):
    def run(args):
        raise KeyboardInterrupt

    fake_verb.run = run
    assert cli.main(["check"]) == 130
    assert capsys.readouterr().err == "distillnerf check: interrupted\n"


@pytest.mark.parametrize("words", [[], ["banana"], ["check", "--banana"]])
def test_wrong_words_are_refused(fake_verb, words, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    assert end.value.code == 2
    assert "usage: distillnerf" in capsys.readouterr().err
