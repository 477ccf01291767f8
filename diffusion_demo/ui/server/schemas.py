"""Schemas of the endpoints: what a caller may send as each input, derived from the page's own components.

A slider already states its range and a dropdown its choices, so no second list of them exists. `GuardedBlocks` checks
every call against these schemas before any component or handler sees a value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Annotated, Any, Literal

import gradio as gr
from gradio.blocks import Block, BlockFunction
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server.event_details import schema_of_details

MAX_TEXT = 4096  # characters of a text field without a limit of its own, enough for any path
MAX_FILES = 10_000  # in one field
MAX_NUMBER = 1e15  # of a field without a range; floats count beyond it by more than 1
MAX_TOKEN = 200  # characters that the browser keeps for the page
Number = StrictInt | Annotated[float, Field(strict=True, allow_inf_nan=False)]


class _FileMeta(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    type: Literal["gradio.FileData"] = Field(alias="_type")


class SentFile(BaseModel):
    """A file that a caller names: one that the caller uploaded, or that the page sent to the caller.

    `check_path`, from the validation context, replaces the path by the resolved one, or raises BadInput.
    """

    model_config = ConfigDict(extra="ignore", strict=True)
    path: Annotated[str, Field(min_length=1, max_length=MAX_TEXT)]
    url: Annotated[str, Field(max_length=4 * MAX_TEXT)] | None = None
    size: Annotated[int, Field(ge=0)] | None = None
    orig_name: Annotated[str, Field(max_length=1000)] | None = None
    mime_type: Annotated[str, Field(max_length=200)] | None = None
    is_stream: Literal[False] = False
    meta: _FileMeta

    def as_gradio(self, info: ValidationInfo) -> dict[str, Any]:
        """Return the file as Gradio's components expect it, with a checked path and without a URL."""
        path = (info.context or {})["check_path"](self.path, self.url)
        kept = {"size": self.size, "orig_name": self.orig_name, "mime_type": self.mime_type}
        return {"path": path, "url": None, "is_stream": False, "meta": {"_type": "gradio.FileData"}} | kept


def _unique_files(files: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return each file once, so that naming a file many times costs nothing."""
    return list({file["path"]: file for file in files}.values())


File = Annotated[SentFile, AfterValidator(SentFile.as_gradio)]
Files = Annotated[list[File], Field(max_length=MAX_FILES), AfterValidator(_unique_files)]


@dataclass(frozen=True)
class InputSchema:
    """The type of one input, as pydantic writes it, and the sentence that says what is allowed."""

    annotation: Any
    sentence: str

    @cached_property
    def _adapter(self) -> TypeAdapter:
        return TypeAdapter(self.annotation)

    def validate(self, value: Any, check_path: Callable[[str, str | None], str]) -> Any:
        """Return the checked value. Raises BadInput with one sentence, which never repeats what was sent."""
        try:
            return self._adapter.validate_python(value, context={"check_path": check_path})
        except ValidationError as error:
            causes = (detail.get("ctx", {}).get("error") for detail in error.errors(include_url=False))
            known = next((cause for cause in causes if isinstance(cause, BadInput)), None)
            raise known or BadInput(self.sentence) from error


def schema_of(block: Block) -> InputSchema:
    """Return the schema of a component as an input. Raises TypeError for a kind of component that has none."""
    for kind, build in _BUILDERS.items():
        if isinstance(block, kind):
            return build(block)
    raise TypeError(f"gr.{type(block).__name__} has no schema, so no endpoint may take it as an input. Add one here.")


def endpoint_schemas(page: gr.Blocks) -> dict[int, list[InputSchema]]:
    """Return the schemas of all endpoints of a page by their number. Raises TypeError if one has none.

    The same holds for the details of events.
    """
    for function in page.fns.values():
        schema_of_details(function.fn)
    return {number: [schema_of(block) for block in function.inputs] for number, function in page.fns.items()}


def is_callable(function: BlockFunction) -> bool:
    """Return whether an endpoint runs on the server. The others are JavaScript, or cancel another endpoint."""
    return function.fn is not None


@lru_cache(maxsize=1024)
def _number(name: str, low: float | None, high: float | None, whole: bool) -> InputSchema:
    bounds = Field(ge=-MAX_NUMBER if low is None else low, le=MAX_NUMBER if high is None else high)
    number: Any = Annotated[Number, bounds, AfterValidator(_whole)] if whole else Annotated[Number, bounds]
    words = "be a whole number" if whole else "be a number"
    words += "" if low is None or high is None else f" from {_plain(low)} to {_plain(high)}"
    return InputSchema(number | None, f"{name} must {words}.")


def _whole(number: float) -> float:
    if number != int(number):
        raise ValueError("not a whole number")
    return number


def _plain(number: float) -> str:
    """Return a number without an exponent."""
    return f"{number:,.0f}" if number == int(number) else f"{number:g}"


@lru_cache(maxsize=1024)
def _choice(name: str, choices: tuple, is_list: bool, max_choices: int | None, custom: bool) -> InputSchema:
    def check(value: Any) -> Any:
        if (type(value), value) in {(type(choice), choice) for choice in choices}:
            return value
        raise ValueError("not a choice")

    one: Any = Annotated[StrictInt | StrictStr | Number, AfterValidator(check)]
    if custom:
        one |= Annotated[StrictStr, Field(max_length=MAX_TEXT)]
    if is_list:
        count = max_choices or max(1, len(choices))
        several: Any = Annotated[list[one], Field(max_length=count)]
        return InputSchema(several | None, f"Choose {name} from the list.")
    return InputSchema(one | None, f"Choose {name} from the list. Reload the page if it has changed.")


@lru_cache(maxsize=1024)
def _text(name: str, maximum: int) -> InputSchema:
    annotation: Any = Annotated[StrictStr, Field(max_length=maximum), AfterValidator(_sendable)]
    return InputSchema(annotation | None, f"{name} must be text of at most {maximum} characters.")


def _sendable(text: str) -> str:
    text.encode()  # raises a ValueError for a lone surrogate, which could not be sent back
    if "\x00" in text:
        raise ValueError("zero byte")
    return text


@lru_cache(maxsize=1024)
def _switch(name: str) -> InputSchema:
    return InputSchema(StrictBool | None, f"{name} must be on or off.")


@lru_cache(maxsize=1024)
def _index(length: int) -> InputSchema:
    return InputSchema(Annotated[StrictInt, Field(ge=0, lt=length)], "This example does not exist. Choose another one.")


def _name_of(block: Any) -> str:
    return block.label or "This field"


def _of_numbers(block: Any) -> InputSchema:
    return _number(_name_of(block), block.minimum, block.maximum, block.precision == 0)


def _of_choices(block: Any) -> InputSchema:
    is_list = isinstance(block, gr.CheckboxGroup) or bool(getattr(block, "multiselect", False))
    custom = bool(getattr(block, "allow_custom_value", False))
    choices = tuple(value for _, value in block.choices)
    return _choice(_name_of(block), choices, is_list, getattr(block, "max_choices", None), custom)


_FILE = InputSchema(File | None, "This file cannot be used. Upload it again.")
_FILES = InputSchema(Files | None, "These files cannot be used. Upload them again.")
_IGNORED = InputSchema(Annotated[Any, AfterValidator(lambda value: None)], "")
# In this order: a class precedes those that it extends. The server keeps the value of a State, whatever a caller sends.
_BUILDERS: dict[type[Block], Callable[[Any], InputSchema]] = {
    gr.State: lambda block: _IGNORED,
    gr.BrowserState: lambda block: _text("The token of this browser", MAX_TOKEN),
    gr.Number: _of_numbers,
    gr.Slider: _of_numbers,
    gr.Dropdown: _of_choices,
    gr.Radio: _of_choices,
    gr.CheckboxGroup: _of_choices,
    gr.Checkbox: lambda block: _switch(_name_of(block)),
    gr.Textbox: lambda block: _text(_name_of(block), block.max_length or MAX_TEXT),
    gr.ColorPicker: lambda block: _text(_name_of(block), 100),
    gr.Image: lambda block: _FILE,
    gr.File: lambda block: _FILE if block.file_count == "single" else _FILES,
    gr.Gallery: lambda block: _IGNORED,  # read by JavaScript only
    gr.Dataset: lambda block: _index(len(block.samples or [])),
}
