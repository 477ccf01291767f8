"""Read a state dict from a file of torch.save without running any code in it."""

import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.models.openai.layout import SUPPORTED
from diffusion_demo.untrusted_files import check_readable

FIRST = "time_embed.0.weight"  # in every supported network
AVERAGES = re.compile("(?<![a-z])ema|shadow|averag", re.IGNORECASE)  # in names of averaged weights
OTHER_PREFIX = "diffusion_model."  # of a latent diffusion model, which layout.py refuses by its name


def read_tensors(file: Path, chosen: str | None = None) -> Mapping[str, Tensor]:
    """Return the tensors of a network in a file of torch.save by name, on the CPU. Code in the file is never run.

    Dictionaries around the network ({"model": ..., "ema": ...}) are unwrapped, and a prefix of all its names ("module."
    of DistributedDataParallel, "_orig_mod." of torch.compile) is removed. `chosen` names one of several networks.
    Raises BadInput if there are several, or averaged weights in another form beside it, and none is chosen, and for
    anything but a dictionary.
    """
    if os.path.isdir(file):
        raise BadInput(f"{file} is a folder. Use it directly with --checkpoint.")
    if not os.path.isfile(file):
        raise BadInput(f"No file at {file}. Check the path.")
    check_readable(file)
    try:
        with warnings.catch_warnings(action="ignore"):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load passes on whatever a file of another format raises in its readers
        if "GLOBAL" in str(error):
            raise BadInput(
                f"{file.name} contains code, which was not run. Save only the network's state_dict()."
            ) from error
        raise BadInput(
            f"{file.name} is not a file of plain tensors from PyTorch, or is damaged. Download it again."
        ) from error
    if not isinstance(content, Mapping):
        raise BadInput(f"{file.name} contains a {type(content).__name__}, not a state dict. {SUPPORTED}.")
    networks = dict(_networks(content))
    _check_choice(file.name, content, networks, chosen)
    if networks:
        return networks[chosen] if chosen is not None else next(iter(networks.values()))
    inner = content.get("state_dict")
    return inner if isinstance(inner, Mapping) else content


def _check_choice(file: str, content: Mapping, networks: Mapping[str, object], chosen: str | None) -> None:
    """Raise BadInput if the chosen network is not among those of a file, or one must be chosen."""
    if chosen is not None and chosen not in networks:
        named = ", ".join(filter(None, networks)) or "a single one without a name; leave out --weights"
        raise BadInput(f"{file} has no network {chosen!r}. It has {named}.", "weights")
    if chosen is not None or not networks:
        return
    names = sorted(networks, key=lambda name: "ema" not in name)
    if len(names) > 1:
        raise BadInput(
            f"{file} holds {len(names)} networks: {', '.join(names)}. Choose one: --weights {names[0]}. "
            "Averaged (EMA) weights usually generate better images.",
            "weights",
        )
    if names[0] and (unread := next(_unread_averages(content, networks), None)):
        raise BadInput(
            f"{file} also holds averaged (EMA) weights in {unread!r}, in a form that is not supported. "
            f"Save them as a state_dict, or import the raw weights: --weights {names[0]}.",
            "weights",
        )


def _networks(content: Mapping, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield a name and the tensors of each network in the dictionary or up to two dictionaries further inside."""
    names = [name for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)]
    prefixes = [name.removesuffix(FIRST) for name in names if name == FIRST or name.endswith(f".{FIRST}")]
    for prefix in prefixes:
        tensors = {name.removeprefix(prefix): content[name] for name in names if name.startswith(prefix)}
        if prefix.endswith(OTHER_PREFIX):
            continue
        if len(prefixes) == 1 and len(tensors) < len(content):  # the rest belongs to it, or is refused by its name
            tensors = {name.removeprefix(prefix): value for name, value in content.items()}
        yield ".".join([*path, *filter(None, [prefix.rstrip(".")] if len(prefixes) > 1 else [])]), tensors
    if not prefixes and len(path) < 3:
        for name, value in content.items():
            if isinstance(name, str) and isinstance(value, Mapping):
                yield from _networks(value, (*path, name))


def _unread_averages(content: Mapping, networks: Mapping[str, object], path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the name of each entry that by its name holds averaged weights, but none of the networks."""
    for name, value in content.items():
        here = ".".join([*path, str(name)])
        if AVERAGES.search(str(name)):
            if _holds_tensors(value) and not any(f"{network}.".startswith(f"{here}.") for network in networks):
                yield here
        elif isinstance(value, Mapping) and len(path) < 2:
            yield from _unread_averages(value, networks, (*path, str(name)))


def _holds_tensors(value: object) -> bool:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return any(isinstance(item, Tensor) or _holds_tensors(item) for item in inner)
