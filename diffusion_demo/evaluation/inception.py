"""Inception network of the papers' FID, from the optional package torch-fidelity."""

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput, first_line
from diffusion_demo.evaluation.extractor import Extractor, Features

BATCH_SIZE = 32
CHANNELS = 7


def inception_extractor(device: torch.device | str = "cpu") -> Extractor:
    """Return the extractor of ADM's evaluator.

    vectors: pool_3, 2,048 numbers; probabilities: softmax of the logits without their bias; spatial: the first 7
    channels of the 17 x 17 map mixed_6, 2,023 numbers. torch-fidelity downloads the weights of 2015-12-05 once into
    torch's cache. Raises BadInput if the package or the weights are not available.
    """
    network = _load_network().to(device)

    def forward(pixels: Tensor) -> Features:
        maps = []
        # Mixed_6d is TensorFlow's mixed_6; its output starts with the branch that ADM uses, mixed_6/conv.
        hook = network.get_submodule("Mixed_6d").register_forward_hook(lambda module, args, output: maps.append(output))
        try:
            vectors, logits = network(pixels.to(device))
        finally:
            hook.remove()
        return Features(vectors, maps[0][:, :CHANNELS].flatten(1), logits.softmax(dim=1))

    return Extractor("inception-v3 2015-12-05", forward, BATCH_SIZE, is_papers=True)


def _load_network() -> torch.nn.Module:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import (  # pyright: ignore[reportMissingImports]  optional
            FeatureExtractorInceptionV3,
        )
    except ImportError as error:
        raise BadInput(
            "--features inception needs torch-fidelity. Run pip install torch-fidelity, or use --features avatars."
        ) from error
    except (OSError, RuntimeError) as error:  # torchvision was built for another torch version
        raise BadInput(
            f"torch-fidelity is installed but does not load ({first_line(error)})."
            " Repair the installation, or use --features avatars."
        ) from error
    try:
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    except Exception as error:  # the download, the cache and a truncated file raise different types
        raise BadInput(
            f"The Inception weights are not available ({first_line(error)})."
            " Check the network connection, or use --features avatars."
        ) from error
