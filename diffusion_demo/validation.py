"""Settings as pydantic fields: help, range and choices in one place, and one sentence for each refused value.

Also the reader of files that may be damaged or tampered with.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path
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


def setting(default: Any, help_text: str, choices: tuple | None = None, **bounds: Any) -> Any:
    """Return a pydantic field with a help text, and with bounds (ge, le, lt) or a tuple of allowed values."""
    return Field(default, description=help_text, json_schema_extra={"choices": list(choices or ())}, **bounds)


def choices_of(field: FieldInfo) -> list:
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


MAX_FILE_BYTES = 200_000_000


def read_regular(file: Path, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file. Raises OSError if it is a pipe or a device, or too large.

    Opening a pipe would wait for a writer for ever.
    """
    descriptor = os.open(file, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > max_bytes:
            raise OSError(f"{file.name} is not a regular file of at most {max_bytes / 1e6:g} MB")
        return stream.read()


def parse_json(text: str | bytes) -> Any:
    """Return a JSON value. Raises ValueError, also for one that is nested too deeply for Python's parser."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("the values are nested too deeply") from error


def read_json(file: Path) -> Any:
    """Return the value in a JSON file. Raises OSError or ValueError if it is damaged."""
    return parse_json(read_regular(file))
