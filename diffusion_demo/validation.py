"""Settings as pydantic fields: help, range and choices in one place, and one sentence for each refused value."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationInfo
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


def setting(default: Any, help_text: str, choices: tuple[Any, ...] | None = None, **bounds: Any) -> Any:
    """Return a pydantic field with a help text, and with bounds (ge, le, lt) or a tuple of allowed values."""
    return Field(default, description=help_text, json_schema_extra={"choices": list(choices or ())}, **bounds)


def choices_of(field: FieldInfo) -> list[Any]:
    """Return the allowed values of a field, or an empty list where a range or nothing bounds it."""
    extra = field.json_schema_extra
    choices = extra.get("choices") if isinstance(extra, dict) else None
    return list(choices) if isinstance(choices, list) else []


def range_of(field: FieldInfo) -> tuple[float | None, float | None]:
    """Return the lowest and highest value of a field, None where there is no bound."""
    names = ("ge", "le", "lt")
    bounds = {name: getattr(item, name) for item in field.metadata for name in names if hasattr(item, name)}
    return bounds.get("ge"), bounds.get("le", bounds.get("lt"))


def check_choice(value: Any, info: ValidationInfo, fields: Mapping[str, FieldInfo]) -> Any:
    """Return the value of a field. Raises BadInput, at that field, unless it is one of the field's choices."""
    name = info.field_name or ""
    allowed = choices_of(fields[name])
    if allowed and value not in allowed:
        raise BadInput(f"{title_of(name)} must be one of {', '.join(map(str, allowed))}, not {value!r}.", name)
    return value


def title_of(name: str) -> str:
    """Return the name of a setting as the first words of a sentence."""
    return name.replace("_", " ").capitalize()


def as_bad_input(error: ErrorDetails, fields: Mapping[str, FieldInfo]) -> BadInput:
    """Return a validation error of pydantic as one sentence, tied to its field."""
    cause = error.get("ctx", {}).get("error")
    if isinstance(cause, BadInput):
        return cause
    name = str(error["loc"][0])
    if error["type"] == "extra_forbidden":
        return BadInput(f"There is no setting {name!r}.", name)
    if error["type"] == "missing":
        return BadInput(f"{title_of(name)} is missing.", name)
    for kind, words in TYPE_WORDS.items():
        if error["type"].startswith(kind):
            return BadInput(f"{title_of(name)} must be {words}, not {error['input']!r}.", name)
    low, high = range_of(fields[name])
    allowed = f"at least {low:g}" if high is None else f"from {low:g} to {high:g}"
    return BadInput(f"{title_of(name)} must be {allowed}, not {error['input']:g}.", name)
