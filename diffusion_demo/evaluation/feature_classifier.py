"""The judge, our own small classifier of clean images, as the extractor that is always there."""

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.images import to_float
from diffusion_demo.models.classifier import Classifier, load_classifier
from diffusion_demo.paths import CHECKPOINTS

FEATURE_CLASSIFIER = CHECKPOINTS / "judge-32"
BATCH_SIZE = 64
SPATIAL_CHANNELS, SPATIAL_SIDE = 7, 4


def feature_classifier_extractor(judge: Classifier) -> Extractor:
    """The judge's features as `extract_features` has them, its probabilities, and its spatial features: Nash et al. 2021, as in ADM's sFID.

    These are, like ADM's, the first 7 channels of a map before pooling, here the middle block's of 8 x 8, averaged two by two: 7 * 4 * 4
    = 112 numbers, about as many as the 96 of the vectors. All 8 x 8 positions would be 448, a covariance of 100,000 numbers, which the
    512 samples of an ordinary call cannot tell from one of lower rank; ADM has 50,000 samples for its 2,023.
    """

    def read(pixels: Tensor) -> Features:
        maps, images = [], _for_judge(pixels, judge)
        hook = judge.mid_block.register_forward_hook(lambda block, given, output: maps.append(output))
        try:
            vectors = judge.features(images, torch.zeros(len(images), dtype=torch.int64, device=judge.device))
        finally:
            hook.remove()
        spatial = functional.adaptive_avg_pool2d(maps[0][:, :SPATIAL_CHANNELS], SPATIAL_SIDE).flatten(1)
        return Features(vectors, spatial, judge.head(vectors).softmax(dim=1))

    return Extractor(FEATURE_CLASSIFIER.name, read, BATCH_SIZE)


def _for_judge(pixels: Tensor, judge: Classifier) -> Tensor:
    side, images = judge.config.trunk["sample_size"], to_float(pixels).to(judge.device)
    return (
        images
        if images.shape[2:] == (side, side)
        else functional.interpolate(images, (side, side), mode="bilinear", antialias=True)
    )


def extract_features(pixels: Tensor, judge: Classifier) -> Tensor:
    """The judge's features, float32 [N, D] on the CPU, of uint8 images [N, C, H, W]; grayscale and other sizes are brought to its own."""
    return feature_classifier_extractor(judge)(pixels).vectors


def load_feature_classifier(device: torch.device | str = "cpu") -> Classifier:
    """The project's own small classifier of clean images, checkpoints/judge-32."""
    return load_classifier(FEATURE_CLASSIFIER, device)
