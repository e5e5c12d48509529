"""Models whose keywords are checked by pydantic, and whose errors are one line of lcat's own words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from lcat._text import hint
from lcat.study.models.messages import plain_message, without_consequences

__all__ = ["OneLineErrors", "Record"]


if TYPE_CHECKING:
    from pydantic._internal._model_construction import ModelMetaclass as _Metaclass
    from typing_extensions import Self
else:
    _Metaclass = type(BaseModel)


class OneLineErrors(_Metaclass):
    """Metaclass of models that people make by hand, such as :class:`lcat.study.HyperParameters`.

    What pydantic finds wrong with their keywords becomes one line. ``model_validate``, and a model inside of another,
    report as pydantic does: :func:`lcat.study.make_plan` puts such problems together with the keys that lead to them.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """A model of these keywords.

        Raises:
            ValueError: one line that names each keyword, its value and what is allowed.
        """
        if args:
            example = next(iter(cls.model_fields), "name")  # type: ignore[attr-defined]
            raise TypeError(
                f"{cls.__name__} takes keywords, as in {cls.__name__}({example}=...); got {args[0]!r} without"
            )
        try:
            return super().__call__(**kwargs)
        except ValidationError as error:
            raise _in_one_line(error, cls.model_fields) from None  # type: ignore[attr-defined]


class Record(BaseModel, metaclass=OneLineErrors):
    """Base of such models: it is checked when it is made, and stays as it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    if not TYPE_CHECKING:

        def __setattr__(self, name: str, value: Any) -> None:
            raise self._refusal(name)

        def __delattr__(self, name: str) -> None:
            raise self._refusal(name)

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values of some settings, which are checked as those of a new one are.

        Args:
            update: values by the name of their setting.
            deep: copy what the settings hold, too.

        Raises:
            ValueError: one line that names each setting, its value and what is allowed.
        """
        copy = super().model_copy(deep=deep)
        if not update:
            return copy
        values = {name: getattr(copy, name) for name in self.model_fields_set} | dict(update)
        try:
            return type(self).model_validate(values, context=self._context_of_copies())
        except ValidationError as error:
            raise _in_one_line(error, type(self).model_fields) from None

    def _context_of_copies(self) -> dict[str, Any]:
        """What validators of a copy get to know."""
        return {}

    def _refusal(self, name: str) -> ValueError:
        kind = type(self).__name__
        return ValueError(f"{name}: {kind} is frozen, because it is checked when it is made; make another one")


def _in_one_line(error: ValidationError, settings: Iterable[str]) -> ValueError:
    known = list(settings)
    return ValueError(" | ".join(_problem(item, known) for item in without_consequences(error.errors())))


def _problem(item: Any, known: list[str]) -> str:
    name = ".".join(str(key) for key in item["loc"] if isinstance(key, str) and key != "[key]")
    if item["type"] == "extra_forbidden":
        return f"there is no setting {name!r}{hint(name, known)}; settings are {', '.join(known)}"
    if item["type"] == "missing":
        return f"{name}: missing; settings are {', '.join(known)}"
    message = " ".join(plain_message(item).split())
    if not name:
        return message
    return f"{name}: {message}" if "got " in message else f"{name}: {message}; got {item['input']!r}"
