"""Help texts are shown as they are written: rich takes words in brackets for its markup."""

from __future__ import annotations

import pytest
import typer

from lcat.cli.commands import lcat_app
from lcat.cli.help import HelpCommand


def commands(command=None, words=()):
    """Words and command of every command of ``lcat``."""
    command = typer.main.get_command(lcat_app()) if command is None else command
    yield words, command
    for name, one in getattr(command, "commands", {}).items():
        yield from commands(one, (*words, name))


def texts(command):
    """Every paragraph and every help of an option, with single blanks."""
    parameters = [one for one in command.params if not getattr(one, "hidden", False)]
    for text in (command.help, *(one.help for one in parameters)):
        for paragraph in (text or "").split("\n\n"):
            lines = paragraph.strip("\b").splitlines() if paragraph.startswith("\b") else [paragraph]
            yield from (" ".join(line.split()) for line in lines)


@pytest.mark.parametrize("words", [words for words, _ in commands() if words != ("ogb",)], ids=" ".join)
def test_every_text_stands_as_it_is_written(call, monkeypatch, words):
    monkeypatch.setenv("COLUMNS", "2000")  # so that no text is broken
    code, out, _ = call(*words, "--help")
    assert code == 0
    shown = " ".join(out.split())
    for text in texts(dict(commands())[words]):
        assert text in shown


def test_a_setting_is_one_of_the_overrides(call):
    assert "[overrides]" in call("study", "run", "--help")[1]


def test_texts_in_brackets_of_commands_and_options(capsys):
    app = typer.Typer(add_completion=False)

    def first(name: str = typer.Option("x", help="A [bold] name, 'lcat[study]', [/red].")) -> None:
        """Do [this] and pip install 'lcat-gnn[study]'."""

    app.command("first", cls=HelpCommand)(first)
    for _ in range(2):  # asking again marks nothing twice
        with pytest.raises(SystemExit):
            app(["--help"])
        out = " ".join(capsys.readouterr().out.split())
        assert "Do [this] and pip install 'lcat-gnn[study]'." in out
        assert "A [bold] name, 'lcat[study]', [/red]." in out
