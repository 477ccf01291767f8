"""The bundled feature extractor: a small classifier of clean avatars."""

import torch
from torch import Tensor
from torch.nn import functional

from diffusion_demo.evaluation.extractor import Extractor, Features
from diffusion_demo.images import to_float
from diffusion_demo.models.classifier import Classifier, load_classifier
from diffusion_demo.paths import CHECKPOINTS

FEATURE_CLASSIFIER = CHECKPOINTS / "feature-classifier"
BATCH_SIZE = 64
SPATIAL_CHANNELS, SPATIAL_SIDE = 7, 4


def feature_classifier_extractor(classifier: Classifier) -> Extractor:
    """Return an extractor of the classifier's features, probabilities and spatial features (Nash et al. 2021).

    The spatial features are, as in ADM's sFID, the first 7 channels of the last map before pooling: here the 8 x 8 map
    of the middle block, average-pooled to 4 x 4, hence 7 * 4 * 4 = 112 numbers beside the 96 of the vectors. All 8 x 8
    positions would be 448 numbers, whose covariance the default 512 samples cannot estimate at full rank; ADM uses
    50,000 samples for its 2,023.
    """

    def forward(pixels: Tensor) -> Features:
        maps, images = [], _preprocess(pixels, classifier)
        hook = classifier.get_submodule("mid_block").register_forward_hook(
            lambda module, args, output: maps.append(output)
        )
        try:
            vectors = classifier.features(images, torch.zeros(len(images), dtype=torch.int64, device=classifier.device))
        finally:
            hook.remove()
        spatial = functional.adaptive_avg_pool2d(maps[0][:, :SPATIAL_CHANNELS], SPATIAL_SIDE).flatten(1)
        return Features(vectors, spatial, classifier.head(vectors).softmax(dim=1))

    return Extractor(FEATURE_CLASSIFIER.name, forward, BATCH_SIZE)


def _preprocess(pixels: Tensor, classifier: Classifier) -> Tensor:
    size, images = (classifier.config["trunk"]["sample_size"],) * 2, to_float(pixels).to(classifier.device)
    if images.shape[2:] == size:
        return images
    return functional.interpolate(images, size, mode="bilinear", antialias=True)


def extract_features(pixels: Tensor, classifier: Classifier) -> Tensor:
    """Return the classifier's features, float32 [N, D] on the CPU, of uint8 images [N, C, H, W].

    Grayscale images are expanded to three channels, and other sizes resized to the classifier's own.
    """
    return feature_classifier_extractor(classifier)(pixels).vectors


def load_feature_classifier(device: torch.device | str = "cpu") -> Classifier:
    """Load the bundled classifier of clean images."""
    return load_classifier(FEATURE_CLASSIFIER, device)
