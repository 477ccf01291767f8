"""Settings as pydantic fields: help, range and choices in one place, and one sentence for each refused value."""

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, TypeVar

from pydantic import Field, ValidationError, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from diffusion_demo.errors import BadInput

TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "string": "text",
    "tuple": "a list",
}


Settings = TypeVar("Settings")


def setting(default: Any, help_text: str, choices: tuple | None = None, **options: Any) -> Any:
    """Return a pydantic field with a help text, and with bounds (gt, ge, le, lt) or a tuple of allowed values.

    The option `title` names the setting in errors where its own name would not read well.
    """
    return Field(default, description=help_text, json_schema_extra={"choices": list(choices or ())}, **options)


def refuses_as_bad_input(settings: type[Settings]) -> type[Settings]:
    """Decorate a pydantic dataclass so that it raises BadInput, naming the field, instead of ValidationError."""
    init: Callable = settings.__init__

    @wraps(init)
    def checked_init(self, *arguments: Any, **named: Any) -> None:
        try:
            init(self, *arguments, **named)
        except ValidationError as error:
            raise as_bad_input(error.errors()[0], fields_of(settings)) from error

    settings.__init__ = checked_init
    return settings


def fields_of(settings: type) -> dict[str, FieldInfo]:
    """Return the fields of a pydantic dataclass by name."""
    return settings.__pydantic_fields__  # pyright: ignore[reportAttributeAccessIssue]  # set by pydantic


def choices_of(field: FieldInfo) -> list[Any]:
    """Return the allowed values of a field, or an empty list where a range or nothing bounds it."""
    extra = field.json_schema_extra
    choices = extra.get("choices") if isinstance(extra, dict) else None
    return list(choices) if isinstance(choices, list) else []


def range_of(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the lowest and highest value of a field, None where there is no bound."""
    names = ("gt", "ge", "le", "lt")
    bounds = {name: getattr(item, name) for item in field.metadata for name in names if hasattr(item, name)}
    return bounds.get("ge", bounds.get("gt")), bounds.get("le", bounds.get("lt"))


def check_choice(value: Any, info: ValidationInfo, fields: Mapping[str, FieldInfo]) -> Any:
    """Return the value of a field. Raises BadInput, at that field, unless it is one of the field's choices."""
    name = info.field_name or ""
    allowed = choices_of(fields[name])
    if allowed and value is not None and value not in allowed:  # None, where its type allows it, is no choice at all
        title = title_of(name, fields)
        raise BadInput(f"{title} must be one of {', '.join(map(str, allowed))}, not {_shown(value)}.", name)
    return value


def title_of(name: str, fields: Mapping[str, FieldInfo]) -> str:
    """Return the name of a setting as the first words of a sentence."""
    title = fields[name].title if name in fields else None
    return title or name.replace("_", " ").capitalize()


def as_bad_input(error: ErrorDetails, fields: Mapping[str, FieldInfo]) -> BadInput:
    """Return a validation error of pydantic as one sentence, tied to its field."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, BadInput):
        return cause
    place = error["loc"][0]
    name = list(fields)[place] if isinstance(place, int) and place < len(fields) else str(place)
    title, kind = title_of(name, fields), error["type"]
    if kind == "extra_forbidden" or kind.startswith("unexpected_"):
        return BadInput(f"There is no setting {name!r}. Remove it, or correct its name.", name)
    if kind.startswith("missing"):
        return BadInput(f"{title} is missing.", name)
    for start, words in TYPE_WORDS.items():
        if kind.startswith(start):
            return BadInput(f"{title} must be {words}, not {_shown(error['input'])}.", name)
    low, high = range_of(fields[name])
    if kind not in ("greater_than", "greater_than_equal", "less_than", "less_than_equal") or low is None:
        return BadInput(f"{title} cannot be {_shown(error['input'])} ({error['msg']}). Change it.", name)
    open_below = any(hasattr(item, "gt") for item in fields[name].metadata)
    least = f"more than {_number(low)}" if open_below else f"at least {_number(low)}"
    if high is None:
        allowed = least
    else:
        allowed = f"{least} and at most {_number(high)}" if open_below else f"from {_number(low)} to {_number(high)}"
    return BadInput(f"{title} must be {allowed}, not {_number(error['input'])}.", name)


def _shown(value: object) -> str:
    """Return any value, of which only the beginning if it is long, as part of a sentence."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _number(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:g}".replace("e-0", "e-")
