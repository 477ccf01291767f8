"""Settings of a published model: its name on the Hub, license, visibility and data set."""

from typing import Any

from pydantic import ConfigDict, ValidationInfo, field_validator
from pydantic.dataclasses import dataclass

from diffusion_demo.hub.account import check_name
from diffusion_demo.validation import check_choice, fields_of, refuses_as_bad_input, setting

# Identifiers of the Hub (huggingface.co/docs/hub/repositories-licenses), the common ones first.
LICENSES = (
    "apache-2.0",
    "mit",
    "cc0-1.0",
    "cc-by-4.0",
    "cc-by-sa-4.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-4.0",
    "openrail",
    "bsd-3-clause",
    "gpl-3.0",
    "unlicense",
    "other",
)


@refuses_as_bad_input
@dataclass(frozen=True, config=ConfigDict(strict=True, extra="forbid"))
class PublishSettings:
    """The settings of a published model. Raises BadInput, naming the field, for an invalid value."""

    name: str = setting(..., "Name on the Hub, USER/NAME.", title="The name on the Hub")
    license: str = setting(..., "License of the model, which its training images may limit.", LICENSES)
    private: bool = setting(False, "Only you can see the model.")
    dataset: str | None = setting(None, "Training images on the Hub, USER/NAME.", title="The data set")

    @field_validator("*")
    @classmethod
    def _is_valid(cls, value: Any, info: ValidationInfo) -> Any:
        if info.field_name in ("name", "dataset") and value is not None:
            check_name(value, "The name on the Hub" if info.field_name == "name" else "The data set")
        return check_choice(value, info, fields_of(cls))
