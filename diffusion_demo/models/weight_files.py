"""The safetensors files of a network folder: one file or shards, in full or half precision, local or on the Hub."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from diffusion_demo.errors import BadInput
from diffusion_demo.models.diffusers_config_keys import read_config
from diffusion_demo.models.hub import local_folder

WEIGHTS, PICKLED = "diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin"
VARIANTS = (None, "fp16", "bf16")  # in this order of preference
FLOATS = ("F64", "F32", "F16", "BF16")  # types of tensors in safetensors files
CHUNK_BYTES = 1 << 24


@dataclass(frozen=True)
class WeightFiles:
    """The files of a network's weights, and the variant by which diffusers finds them."""

    files: tuple[Path, ...]
    variant: str | None = None

    def digest(self) -> str:
        """Return a short digest of the contents."""
        digest = hashlib.sha256()
        for file in self.files:
            with file.open("rb") as opened:
                while chunk := opened.read(CHUNK_BYTES):
                    digest.update(chunk)
        return digest.hexdigest()[:12]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every tensor, read from the headers.

        Raises BadInput for tensors of another type than floating-point numbers of 16 bits or more: quantized weights
        need their scales, which torch would ignore.
        """
        shapes = {}
        for file in self.files:
            with safe_open(file, "np") as opened:
                for name in opened.keys():  # noqa: SIM118
                    tensor = opened.get_slice(name)
                    if tensor.get_dtype() not in FLOATS:
                        raise BadInput(
                            f"The weights in {file.parent} are of type {tensor.get_dtype()}, which is not supported. "
                            "Use the original weights in 16 or 32 bits."
                        )
                    shapes[name] = tuple(tensor.get_shape())
        return shapes


def fetch_weights(checkpoint: str | Path, folder: Path, network: Path) -> WeightFiles:
    """Return the weights in the folder `network`, downloading them first for a Hub model.

    `folder` is the checkpoint's local folder. Raises BadInput if there are none that can be read.
    """
    inside = network.relative_to(folder) if network.is_relative_to(folder) else Path()
    for variant in VARIANTS:
        single, index = (network / name for name in _names(variant))
        local_folder(checkpoint, [(inside / file.name).as_posix() for file in (single, index)])
        if os.path.isfile(single):
            return WeightFiles((single,), variant)
        if os.path.isfile(index):
            shards = _shards(index)
            local_folder(checkpoint, [(inside / shard).as_posix() for shard in shards])
            if lost := [shard for shard in shards if not os.path.isfile(network / shard)]:
                raise BadInput(f"{network} is damaged or incomplete: {lost[0]} is missing. Copy the checkpoint again.")
            return WeightFiles(tuple(network / shard for shard in shards), variant)
    raise BadInput(_missing_weights(checkpoint, network))


def _names(variant: str | None) -> tuple[str, str]:
    """Return diffusers' names of the single file and of the index of shards."""
    stem, suffix = WEIGHTS.rsplit(".", 1)
    return (
        (f"{stem}.{variant}.{suffix}", f"{WEIGHTS}.index.{variant}.json")
        if variant
        else (WEIGHTS, f"{WEIGHTS}.index.json")
    )


def _shards(index: Path) -> list[str]:
    names = read_config(index).get("weight_map")
    shards = sorted(set(map(str, names.values()))) if isinstance(names, dict) else []
    if not shards or any(Path(name).name != name or not name.endswith(".safetensors") for name in shards):
        raise BadInput(f"{index} is damaged. Copy the checkpoint again.")
    return shards


def _missing_weights(checkpoint: str | Path, network: Path) -> str:
    name = Path(checkpoint).as_posix()
    if not os.path.isdir(checkpoint):
        code = f"DiffusionPipeline as P; P.from_pretrained('{name}').save_pretrained('{Path(name).name}')"
        return (
            f"{name} has no {WEIGHTS} on the Hub or in the local cache. "
            f"If it has pickled weights, convert them: {_import_command(code)}."
        )
    for variant in VARIANTS:
        stem, suffix = PICKLED.rsplit(".", 1)
        pickled = f"{stem}.{variant}.{suffix}" if variant else PICKLED
        if os.path.isfile(network / pickled):
            path, option = network.as_posix(), f", variant='{variant}'" if variant else ""
            code = f"UNet2DModel as U; U.from_pretrained('{path}'{option}).save_pretrained('{path}')"
            return (
                f"The weights of {checkpoint} are pickled and could run code, so they are not loaded. "
                f"Convert them: {_import_command(code)}."
            )
    if others := sorted(file.name for file in network.glob("*.safetensors") if os.path.isfile(file)):
        if all(_is_lora(network / name) for name in others):
            return (
                f"{network} has only a LoRA ({others[0]}), which is not supported. "
                "Choose the folder of a network with all its weights."
            )
        return f"{network} has {others[0]} but no {WEIGHTS}. Rename the file of the network's weights to {WEIGHTS}."
    return f"{network} is damaged or incomplete: {WEIGHTS} is missing. Copy the checkpoint again, or train it again."


def _is_lora(file: Path) -> bool:
    """Return whether a file has the low-rank matrices that a LoRA adds to the weights of another network."""
    if "lora" in file.name.lower():
        return True
    try:
        with safe_open(file, "np") as opened:
            return any("lora" in name.lower() for name in opened.keys())  # noqa: SIM118
    except Exception:  # a damaged file; safetensors has several types of errors
        return False


def _import_command(code: str) -> str:
    return f'python -c "from diffusers import {code}"'
