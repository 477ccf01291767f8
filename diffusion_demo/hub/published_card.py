"""Model card of a published model: the metadata that the Hub reads, and the text of the checkpoint's own card."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from diffusion_demo.errors import BadInput
from diffusion_demo.hub.publish_settings import PublishSettings
from diffusion_demo.models.metadata import CheckpointMetadata
from diffusion_demo.models.model_card import TASK_TEXTS, model_card

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

GRID = "samples.png"
TAGS = ["diffusion", "ddpm", "diffusion-demo"]
# Values in a report of `evaluate --json`: metric on the Hub, its title, and where the value is.
METRICS = {
    "nll": [("bits_per_dim", "Bits per dimension", ("bits_per_dim",))],
    "fd": [("frechet_distance", "Frechet distance", ("distance",))],
    "sfd": [("spatial_frechet_distance", "Spatial Frechet distance", ("distance",))],
    "is": [("inception_score", "Inception Score", ("score",))],
    "pr": [
        ("precision", "Precision of samples", ("precision", "value")),
        ("recall", "Recall of samples", ("recall", "value")),
    ],
}


def published_card(
    metadata: CheckpointMetadata,
    parameters: int,
    publication: PublishSettings,
    grid: str | None = None,
    report: Mapping[str, Any] | None = None,
) -> str:
    """Return the README.md of a published model.

    metadata  of the checkpoint, without paths of this machine
    grid      the settings of the sample grid in words; None if there is no grid
    report    of `evaluate --json`
    """
    from huggingface_hub import ModelCardData

    results = list(_results(metadata, report or {}))
    data = ModelCardData(
        license=publication.license,
        library_name="diffusers",
        pipeline_tag=TASK_TEXTS[metadata.task][1],
        tags=TAGS,
        datasets=[publication.dataset] if publication.dataset else None,
        model_name=publication.name.partition("/")[2],
        eval_results=results or None,
    )
    if not results:
        data.model_name = None  # it names the list of results, and means nothing alone
    body = model_card(metadata, parameters).split("---\n", 2)[2].replace("THIS_FOLDER", publication.name)
    image = f"\n![{grid}]({GRID})\n" if grid else ""
    return f"---\n{data.to_yaml()}\n---\n{body}{image}"


def _results(metadata: CheckpointMetadata, report: Mapping[str, Any]) -> Iterator["EvalResult"]:
    """Yield the held-out loss and the metrics of a report. Raises BadInput if it is not a report of `evaluate`."""
    source = str((metadata.data or {}).get("source", "images"))
    if metadata.held_out_loss is not None:
        yield _result(metadata, f"{source} (held out)", "loss", "Loss on held-out images", metadata.held_out_loss)
    for name, metrics in METRICS.items():
        for metric, title, place in metrics if name in report else ():
            value: Any = report[name]
            try:
                for key in place:
                    value = value[key]
                yield _result(metadata, source, metric, title, round(float(value), 4))
            except (KeyError, TypeError, ValueError) as error:
                raise BadInput(f"The evaluation has no {title}. Make it with: evaluate --json.") from error


def _result(metadata: CheckpointMetadata, dataset: str, metric: str, title: str, value: float) -> "EvalResult":
    from huggingface_hub import EvalResult

    return EvalResult(
        task_type=TASK_TEXTS[metadata.task][1],
        dataset_type="imagefolder",
        dataset_name=dataset,
        metric_type=metric,
        metric_name=title,
        metric_value=value,
    )
