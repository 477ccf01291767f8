"""The Inception network of the papers' FID, through torch-fidelity where a person has it: no dependency of ours."""

import torch
from torch import Tensor

from diffusion_demo.errors import BadInput
from diffusion_demo.evaluation.extractor import Extractor, Features

BATCH_SIZE = 32
CHANNELS = 7


def inception_extractor(device: torch.device | str = "cpu") -> Extractor:
    """pool_3 (2,048 numbers), softmax of the logits without their bias, and the first 7 channels of mixed_6's 17 x 17 (2,023): ADM's evaluator.

    The weights of 2015-12-05 are fetched once by torch-fidelity into torch's cache. Raises BadInput where they or the package cannot be had.
    """
    network = _network().to(device)

    def read(pixels: Tensor) -> Features:
        maps = []
        # Mixed_6d is TensorFlow's mixed_6, and its output begins with the branch that ADM takes, mixed_6/conv.
        hook = network.Mixed_6d.register_forward_hook(lambda block, given, output: maps.append(output))
        try:
            vectors, logits = network(pixels.to(device))
        finally:
            hook.remove()
        return Features(vectors, maps[0][:, :CHANNELS].flatten(1), logits.softmax(dim=1))

    return Extractor("inception-v3 2015-12-05", read, BATCH_SIZE)


def _network() -> torch.nn.Module:
    try:
        from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    except ImportError as error:
        raise BadInput(
            "--features inception needs torch-fidelity: pip install torch-fidelity, or use --features judge."
        ) from error
    except (OSError, RuntimeError) as error:  # a torchvision that was built for another torch
        raise BadInput(
            f"torch-fidelity is there but does not load ({_first_line(error)}); mend it, or use --features judge."
        ) from error
    try:
        return FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    except Exception as error:  # whatever a network, a cache or a cut file raises
        raise BadInput(
            f"Inception's weights cannot be had ({_first_line(error)}); try again with a network, or use --features judge."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
