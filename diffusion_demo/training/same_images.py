"""Check that a run is resumed with the images that it began with."""

from typing import Any

from diffusion_demo import data
from diffusion_demo.errors import BadInput
from diffusion_demo.training.config import TrainConfig

# Of the summaries of release 0.1.0, which have no digest of all images: what does not depend on names.
COMPARED = ("images", "held_out", "classes", "shorter_sides", "not_square", "grayscale", "copies")


def data_summary(report: data.Report) -> dict[str, Any]:
    """Return the summary of the images for config.json, by which `check_same_images` recognizes them."""
    return report.summary() | {
        "held_out_digests": sorted(entry.digest for entry in report.entries if entry.held_out),
        "content_digest": report.content_digest,
        "order_digest": report.order_digest,
    }


def check_same_images(
    config: TrainConfig, report: data.Report, original: dict[str, Any]
) -> tuple[data.Report, tuple[str, ...]]:
    """Return the report with the held-out images of the run's first call, and warnings.

    `original` is the summary in config.json. Raises BadInput if the images or their classes are others.
    """
    if (held_out := original.get("held_out_digests")) is not None:
        report = report.with_held_out(frozenset(held_out))
    summary = data_summary(report)
    names = ("content_digest",) if "content_digest" in original else COMPARED
    if any(summary[name] != original[name] for name in (*names, "held_out_digests") if name in original):
        raise BadInput(
            f"The images in {data.title_of(report.source)} or their classes differ from those that the run started "
            "with. Restore them, or start a new run."
        )
    if original.get("order_digest", summary["order_digest"]) != summary["order_digest"]:
        return report, (
            "Image files were renamed since the run started, so batches come in another order from here on. "
            "The weights will differ a little from those of a run that never stopped.",
        )
    return report, ()
