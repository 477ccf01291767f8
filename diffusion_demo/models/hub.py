"""A checkpoint argument -> a folder on this machine: the folder itself or, for google/ddpm-cifar10-32, what the Hugging Face Hub has of that name.

huggingface_hub keeps what it fetches, and gives it back without a network. Only JSON and safetensors are ever asked for.
"""

from collections.abc import Iterable
from pathlib import Path

from diffusion_demo.errors import BadInput
from diffusion_demo.models.metadata import FILE

# Every JSON file that is read here: in the parts' own folders, or at the root as the first diffusers repositories have them.
CONFIGS = (
    "model_index.json",
    FILE,
    "unet/config.json",
    "config.json",
    "scheduler/scheduler_config.json",
    "scheduler_config.json",
)


def local_folder(checkpoint: str | Path, files: Iterable[str] = CONFIGS) -> Path:
    """The folder of that path or else, where it reads owner/name, one with those `files` of the Hub's model, as far as it has them.

    Raises BadInput when there is neither: no such folder, and no such model on the Hub or, without a network, in its cache here.
    """
    path = Path(checkpoint)
    if path.is_dir():
        return path
    name = path.as_posix()
    if not is_hub_id(name):
        raise BadInput(f"There is no checkpoint folder {checkpoint}.")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(files)))
    except Exception as error:  # the client's own errors and those of whichever HTTP library its version stands on
        raise BadInput(_reason(name, error)) from error


def is_hub_id(name: str) -> bool:
    """Can it be the name of a model on the Hub, owner/name?"""
    from huggingface_hub.utils import HFValidationError, validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return name.count("/") == 1


def _reason(name: str, error: Exception) -> str:
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    match error:
        case GatedRepoError():
            return f"{name} is given only to those who accept its terms: do so on its page of the Hub, then log in with: hf auth login."
        case RepositoryNotFoundError():
            return f"There is no folder {name} here, and no public model of that name on the Hub."
        case LocalEntryNotFoundError():
            return (
                f"There is no folder {name} here, the Hub cannot be reached, and its cache on this machine does not hold a model of that name;"
                " try again with a network, and without HF_HUB_OFFLINE."
            )
        case _:
            words = next(iter(str(error).strip().splitlines()), type(error).__name__)
            return f"{name} could not be fetched from the Hub ({words.rstrip('.')}); try again."
