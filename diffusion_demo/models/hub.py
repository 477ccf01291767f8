"""Resolve a checkpoint argument to a local folder: an existing folder, or a download from the Hugging Face Hub.

huggingface_hub caches downloads and reads the cache when offline. Only JSON and safetensors files are requested.
"""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from diffusion_demo.errors import BadInput, first_line
from diffusion_demo.models.metadata import FILE
from diffusion_demo.paths import pasted_path

# All JSON files that this package reads. The oldest diffusers repositories have them at the root.
CONFIGS = (
    "model_index.json",
    FILE,
    "unet/config.json",
    "config.json",
    "scheduler/scheduler_config.json",
    "scheduler_config.json",
)


HUB_ADDRESS = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/(?!datasets/|spaces/)([^/?#]+/[^/?#]+)")


def local_folder(checkpoint: str | Path, files: Iterable[str] = CONFIGS) -> Path:
    """Return `checkpoint` if it is a folder, else the cache folder of the Hub model owner/name.

    Downloads those of `files` that the Hub model has. Raises BadInput if there is neither such a folder nor such a
    model on the Hub or, when offline, in the cache.
    """
    path = Path(checkpoint_source(checkpoint))
    if os.path.isdir(path):
        return path
    if os.path.isfile(path):
        raise BadInput(_not_a_folder(path))
    name = path.as_posix()
    if not is_hub_id(name):
        raise BadInput(f"No checkpoint folder at {checkpoint}. Check the path.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # besides its own errors, the client raises those of its HTTP library, which varies
        raise BadInput(_download_error(name, error)) from error


def checkpoint_source(text: str | Path) -> str | Path:
    """Return the folder or the Hub name that a pasted text means; a Path is unchanged unless it is a file of weights.

    The address of a model on the Hub becomes its name, a safetensors file beside its config.json its folder, and the
    unet/ of a pipeline that pipeline. Raises BadInput for an empty text.
    """
    if isinstance(text, str):
        text = pasted_path(text)
        if match := HUB_ADDRESS.match(text):
            return match[1]
        if not text.strip():  # Path("") is the current folder
            raise BadInput(
                "The name of the checkpoint is empty. Name a folder, a bundled checkpoint or a model on the Hub."
            )
    path = Path(text)
    if path.suffix == ".safetensors" and os.path.isfile(path) and os.path.isfile(path.parent / "config.json"):
        path = path.parent
    if path.name == "unet" and os.path.isfile(path.parent / "model_index.json"):
        path = path.parent
    return text if path == Path(text) else path


def _not_a_folder(file: Path) -> str:
    if file.suffix in (".pt", ".pth"):
        return f"{file} is a PyTorch file. Import it first: python -m diffusion_demo import {file} --out DIR."
    if file.suffix == ".safetensors":
        return (
            f"{file} holds weights alone, so the network and its noise schedule are unknown. Put its config.json "
            "and scheduler_config.json beside it."
        )
    return f"{file} is a file, not a checkpoint folder. Choose the folder with its model_index.json."


def is_hub_id(name: str) -> bool:
    """Return whether `name` has the form of a model name on the Hub, owner/name."""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _download_error(name: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    match error:
        case GatedRepoError():
            return f"{name} is a gated model. Accept its terms on its Hub page, then log in with: hf auth login."
        case RepositoryNotFoundError():
            return f"No folder {name}, and no public model of that name on the Hub. Check the name."
        case LocalEntryNotFoundError():
            return (
                f"No folder {name}, the Hub cannot be reached, and the model is not in the local cache. "
                "Connect to the internet and unset HF_HUB_OFFLINE."
            )
        case _:
            return f"Cannot download {name} from the Hub ({first_line(error)}). Try again."
