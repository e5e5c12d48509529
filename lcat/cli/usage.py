"""What is wrong with a command line, in one line with the way out."""

from __future__ import annotations

from typing import Any

from lcat._option_names import option_hint
from lcat._text import hint

__all__ = ["usage_message"]


def usage_message(error: Any) -> str:
    """The message of an error of click, in lcat's words.

    Args:
        error: typer brings its own copy of click, or uses click's, by version: the attributes say what it is.
    """
    context = getattr(error, "ctx", None)
    name = getattr(error, "option_name", None)
    message: str = error.format_message()
    if context is None:
        if name is not None:  # some versions of click leave the context out here
            return f"{name}: {'takes no value' if 'not take' in message else 'expected a value'}"
        return message
    command = "lcat" + str(context.command_path).removeprefix(str(context.find_root().info_name))
    if hasattr(error, "possibilities") and name is not None:
        options = [option for option in _options(context) if option != name]
        return f"there is no option {name}{option_hint(name, options)}; {command} --help lists the options"
    if name is not None:
        option = next((one for one in context.command.params if name in (*one.opts, *one.secondary_opts)), None)
        takes_value = option is not None and not getattr(option, "is_flag", False)
        if takes_value:
            return f"{name}: expected a value, as in {name} {getattr(option, 'metavar', None) or 'VALUE'}"
        return f"{name}: takes no value; write {name} alone"
    parameter = getattr(error, "param", None)
    if parameter is not None and type(error).__name__ == "BadParameter":
        named = parameter.opts[0] if parameter.opts[0].startswith("-") else getattr(parameter, "metavar", None)
        return f"{named or parameter.name}: {error.message}"
    if parameter is not None and type(error).__name__ == "MissingParameter":
        metavar = getattr(parameter, "metavar", None) or str(parameter.name).upper()
        return f"{metavar} is missing, as in {command} {metavar}; {command} --help says what it is"
    commands = context.command.list_commands(context) if hasattr(context.command, "list_commands") else []
    if commands and message.startswith("No such command"):
        word = message.split("'")[1] if message.count("'") > 1 else ""
        return f"there is no command {word!r}{hint(word, commands)}; commands are {', '.join(commands)}"
    extra = "Got unexpected extra argument"
    if message.startswith(extra):
        words = message.partition("(")[2].partition(")")[2].strip(" ()")
        return f"unexpected argument {words}: options begin with --; {command} --help lists what it takes"
    return message


def _options(context: Any) -> list[str]:
    """The options of a command that its help lists."""
    shown = [one for one in context.command.params if not getattr(one, "hidden", False)]
    names = [name for one in shown for name in (*one.opts, *one.secondary_opts) if name.startswith("-")]
    return [*names, *(name for name in context.help_option_names if name not in names)]
