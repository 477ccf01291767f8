"""Effect of guidance on class accuracy, precision and recall.

    python -m benchmarks.guidance DATA WORK [IMAGES]

Uses the bundled model, class proportions of the data, the same seeds in every row and the default sampler. Accuracy is
the share of samples that the independent feature classifier assigns to the requested class; the last line gives its
accuracy on real held-out images. Samples only what is missing in WORK, so an interrupted call resumes.
"""

import sys
from dataclasses import replace
from pathlib import Path

import torch

from benchmarks.measuring import BUNDLED
from diffusion_demo import data
from diffusion_demo.evaluation.class_matching import specs_in_data_proportions
from diffusion_demo.evaluation.extractor import Features
from diffusion_demo.evaluation.feature_classifier import feature_classifier_extractor, load_feature_classifier
from diffusion_demo.evaluation.frechet import frechet_estimate
from diffusion_demo.evaluation.precision_recall import precision_recall_estimates
from diffusion_demo.evaluation.samples import draw_samples
from diffusion_demo.models.checkpoint import load_checkpoint
from diffusion_demo.runtime.device import best_device
from diffusion_demo.sampling.presets import usual_eta
from diffusion_demo.sampling.request import ImageSpec, Request

OFF = {"guidance_scale": 1.0, "classifier_scale": 0.0}
ROWS = {
    "none": OFF,
    **{f"classifier-free, s = {s:g}": OFF | {"guidance_scale": s} for s in (0.0, 1.5, 2.0, 4.0)},
    **{
        f"classifier-free, s = {s:g}, below t = 900": OFF | {"guidance_scale": s, "guidance_interval": (0, 899)}
        for s in (2.0, 4.0)
    },
    "classifier-free, s = 2, from t = 400": OFF | {"guidance_scale": 2.0, "guidance_interval": (400, 999)},
    **{f"classifier, {s:g}": OFF | {"classifier_scale": s} for s in (0.5, 1.0, 2.0, 4.0)},
    **{
        f"classifier, {s:g}, model without class": {"guidance_scale": 0.0, "classifier_scale": s}
        for s in (1.0, 2.0, 4.0)
    },
    "classifier, 2, from t = 400": OFF | {"classifier_scale": 2.0, "guidance_interval": (400, 999)},
    "both: s = 2 and classifier, 1": {"guidance_scale": 2.0, "classifier_scale": 1.0},
}


def accuracy(
    features: Features, specs: list[ImageSpec], classifier_names: list[str], names: tuple[str, ...]
) -> tuple[float, float]:
    """Return the share of images that the classifier assigns to the requested class, and its standard error."""
    labels = torch.tensor([classifier_names.index(names[image.class_index]) for image in specs])
    share = float((features.probabilities.argmax(1) == labels).double().mean())
    return share, (share * (1 - share) / len(specs)) ** 0.5


def main() -> None:
    source, work = sys.argv[1], Path(sys.argv[2])
    images = int(sys.argv[3]) if len(sys.argv) > 3 else 360
    report, checkpoint = data.scan(source), load_checkpoint(BUNDLED, best_device())
    classifier = load_feature_classifier(best_device())
    extract, classifier_names = feature_classifier_extractor(classifier), list(classifier.config.class_names)
    names = checkpoint.description.class_names
    parts = [data.load(report, 32, 3, held_out=part) for part in (False, True)]
    reference = extract(torch.cat([part.images for part in parts])).vectors
    reference = reference[torch.randperm(len(reference), generator=torch.Generator().manual_seed(0))]
    eta = usual_eta(Request.sampler)
    print(f"{images} samples per row, {Request.sampler} with {Request.steps} steps and eta {eta:g}\n")
    print("| guidance | accuracy | precision | recall | distance |\n|---|---|---|---|---|")
    for name, settings in ROWS.items():
        always = Request(num_images=images, guidance_interval=(0, 999), precision="fp32")
        request = replace(always, **settings)
        specs = specs_in_data_proportions(report.classes, checkpoint.description, request)
        folder = work / "-".join(str(value) for value in settings.values())
        samples = draw_samples(checkpoint, BUNDLED.name, request, specs, folder, lambda images: None)
        features = extract(samples.images)
        share, error = accuracy(features, specs, classifier_names, names)
        precision, recall = precision_recall_estimates(features.vectors, reference[:images])
        distance = frechet_estimate(features.vectors, reference)
        cells = [
            f"{100 * share:.0f} ± {100 * error:.0f} %",
            *(f"{e.value:.2f} ± {e.standard_error:.2f}" for e in (precision, recall, distance)),
        ]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)
    asked = torch.tensor([classifier_names.index(name) for name in report.class_names])[parts[1].labels]
    right = (extract(parts[1].images).probabilities.argmax(1) == asked).double().mean()
    print(f"\nAccuracy of the classifier on {len(parts[1])} real held-out images: {right:.0%}.")


if __name__ == "__main__":
    main()
