"""Access to the Hub with the token of `hf auth login`, and one sentence for each of its refusals.

The token stays inside huggingface_hub: this package neither stores nor prints it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from diffusion_demo.errors import BadInput, first_line
from diffusion_demo.models.hub import is_hub_id

if TYPE_CHECKING:
    from huggingface_hub import HfApi

LOG_IN = "Log in first: hf auth login, with a token that has write access."


def writing_api(token: str | None = None) -> "HfApi":
    """Return the client of the Hub. Raises BadInput if there is no token.

    token  of a visitor who logged in with Hugging Face; default: the one of `hf auth login`, or HF_TOKEN
    """
    from huggingface_hub import HfApi, get_token

    if token is None and get_token() is None:
        raise BadInput(f"You are not logged in to Hugging Face. {LOG_IN}")
    return HfApi(token=token, library_name="diffusion-demo")


def check_name(name: str, option: str) -> str:
    """Return `name`. Raises BadInput unless it has the form USER/NAME."""
    if not is_hub_id(name):
        raise BadInput(f"{option} must be USER/NAME, with letters, digits, '-', '_' and '.', not {name[:100]!r}.")
    return name


@contextmanager
def hub_errors_as_bad_input(action: str) -> Iterator[None]:
    """Convert the errors of the Hub inside the block to BadInput. `action` fails, such as "create the Space"."""
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        yield
    except BadInput:
        raise
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise BadInput(f"Cannot {action}: {REFUSALS.get(status) or _reason(error, status)}") from error
    except (HFValidationError, ValueError) as error:  # ValueError: the Hub does not accept a model card
        raise BadInput(f"Cannot {action} ({first_line(error)}).") from error
    except Exception as error:  # besides its own errors, the client raises those of its HTTP library, which varies
        raise BadInput(f"Cannot {action} ({first_line(error)}). Check the connection and try again.") from error


REFUSALS = {
    401: f"the Hub does not accept the token. {LOG_IN}",
    402: "the Hub requires a paid plan (HTTP 402). A free account may have two Gradio Spaces, both on ZeroGPU "
    "(--flavor zero-a10g), once it is 30 days old; other hardware needs a plan.",
    403: f"the token may not write there (HTTP 403). Check the name before the slash. {LOG_IN}",
}


def _reason(error: Exception, status: int) -> str:
    message = getattr(error, "server_message", None) or first_line(error)
    return f"the Hub answers {str(message).rstrip('.')} (HTTP {status}). Try again later."
