"""Command-line options made from the fields of pydantic settings: help, range, choices and default."""

import argparse
from collections.abc import Callable
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from diffusion_demo.errors import BadInput
from diffusion_demo.untrusted_files import check_readable, read_json
from diffusion_demo.validation import choices_of, range_of

METAVARS: dict[Any, str] = {int: "N", float: "X"}


def parse_steps(text: str) -> int | str:
    """Return a number of steps, or the text itself if it specifies the timesteps."""
    if not text.strip().isdecimal():
        return text
    if len(text) > 20:  # int() refuses more than 4,300 digits
        raise argparse.ArgumentTypeError(f"the number of steps is too large: {text[:20]}...")
    return int(text)


def read_json_object(file: Path, advice: str) -> dict[str, Any]:
    """Return the object in a JSON file. Raises BadInput, ending with `advice`, if there is none."""
    try:
        content = read_json(file)
    except FileNotFoundError as error:
        raise BadInput(f"No file at {file}. Check the path.") from error
    except (OSError, ValueError) as error:
        check_readable(file)
        raise BadInput(f"Cannot read {file} as JSON. {advice}") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file} must contain a JSON object. {advice}")
    return content


def add_setting(parser: argparse.ArgumentParser, name: str, field: FieldInfo, **changes: Any) -> None:
    """Add the option of a field to the parser. An option that is not given is None, whatever the default.

    `changes` replace arguments of `add_argument`, such as its help; the range and the default are added to it.
    """
    words = changes.pop("help", field.description or "")
    options: dict[str, Any] = {"help": words.replace("%", "%%") + _limits(field)}
    kinds = _kinds_of(field)
    if kinds == [bool]:
        options |= {"action": argparse.BooleanOptionalAction, "default": None}
    elif get_origin(kinds[0]) is tuple:
        options |= _tuple_options(get_args(kinds[0]))
    elif kinds == [int, str]:
        options |= {"type": parse_steps, "metavar": "N"}
    else:
        options |= {"type": kinds[0], "metavar": METAVARS.get(kinds[0], "NAME")}
    parser.add_argument(f"--{name.replace('_', '-')}", **options | changes)


def given(parsed: argparse.Namespace, fields: dict[str, FieldInfo]) -> dict[str, Any]:
    """Return the fields whose options were given on the command line."""
    values = {name: getattr(parsed, name, None) for name in fields}
    return {name: value for name, value in values.items() if value is not None}


def _tuple_options(kinds: tuple) -> dict[str, Any]:
    """Return the arguments for one value "0.9,0.99" of any length, or for as many values as the tuple has."""
    if kinds[-1] is Ellipsis:
        return {"type": _separated_by_commas(kinds[0]), "metavar": "X,X"}
    return {"type": kinds[0], "nargs": len(kinds), "metavar": ("LOW", "HIGH")}


def _separated_by_commas(kind: Callable[[str], Any]) -> Callable[[str], tuple]:
    def numbers(text: str) -> tuple:
        return tuple(kind(part) for part in text.split(","))

    return numbers


def _kinds_of(field: FieldInfo) -> list[Any]:
    """Return the types of a field other than None."""
    if get_origin(field.annotation) is tuple:
        return [field.annotation]
    return [kind for kind in get_args(field.annotation) if kind is not NoneType] or [field.annotation or str]


def _limits(field: FieldInfo) -> str:
    """Return the choices or the range of a field, and its default, in brackets."""
    limits, bounds = [], range_of(field)
    if choices := choices_of(field):
        limits.append(f"one of {', '.join(map(str, choices))}")
    elif None not in bounds:
        limits.append(" to ".join(f"{bound:,}" if isinstance(bound, int) else f"{bound:g}" for bound in bounds))
    if field.default is not None and not field.is_required():
        default = ",".join(map(str, field.default)) if isinstance(field.default, tuple) else field.default
        limits.append(f"default: {default}")
    return f" ({'; '.join(limits)})" if limits else ""
