"""Schemas of the details that custom events of the page send along with an endpoint's inputs."""

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import gradio as gr
from gradio.events import EventData
from gradio.utils import get_type_hints
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictInt, StrictStr, ValidationError

from diffusion_demo.errors import BadInput

MALFORMED = "The server cannot carry out this action. Reload the page and try again."
Handler = TypeVar("Handler", bound=Callable)

Name = Annotated[StrictStr, Field(max_length=300)]
Key = Annotated[StrictStr, Field(max_length=64)]


class Details(BaseModel):
    """The details of an event. Details that the schema does not name are dropped."""

    model_config = ConfigDict(extra="ignore")


class ShownSettings(Details):
    """The settings of the image in the viewer, which the handler checks like those of a dropped file."""

    settings: Annotated[dict[Key, JsonValue], Field(max_length=100)] | None = None


class InterruptedSampling(ShownSettings):
    """The settings, the number of images and the class of a run that a reload has cut short."""

    num_images: StrictInt | None = None
    label: Name | None = None


class ShownImage(Details):
    """The model and the class of the image in the viewer."""

    checkpoint: Name | None = None
    class_name: Name | StrictInt | None = Field(None, alias="class")


class ChosenFix(Details):
    """The fix that was pressed in the report on the images."""

    fix: Key | None = None


def with_details(schema: type[Details]) -> Callable[[Handler], Handler]:
    """Decorate a handler that has an argument gr.EventData with the schema of the event's details."""

    def decorate(handler: Handler) -> Handler:
        handler.details_schema = schema  # pyright: ignore[reportFunctionMemberAccess]
        return handler

    return decorate


def schema_of_details(handler: Callable | None) -> type[Details] | None:
    """Return the schema of the details that a handler takes, or None. Raises TypeError if they have no schema."""
    if handler is None or (schema := getattr(handler, "details_schema", None)) is not None:
        return schema if handler is not None else None
    hints = get_type_hints(handler).values()
    if any(isinstance(hint, type) and issubclass(hint, EventData) for hint in hints):
        raise TypeError(f"{handler} takes the details of an event without a schema. Decorate it with with_details.")
    return None


def checked_details(handler: Callable | None, event: gr.EventData | None) -> gr.EventData | None:
    """Return the event with the details that the handler's schema names; None for a handler that takes none.

    Raises BadInput for other details.
    """
    schema = schema_of_details(handler)
    if schema is None or event is None:
        return None
    details: Any = event._data if event._data is not None else {}
    try:
        checked = schema.model_validate(details)
    except (ValidationError, RecursionError) as error:
        raise BadInput(MALFORMED) from error
    return gr.EventData(event.target, checked.model_dump(by_alias=True))
