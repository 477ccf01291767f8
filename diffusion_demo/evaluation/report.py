"""Text report of the `evaluate` command."""

from collections.abc import Iterator
from typing import Any


def report_lines(report: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a report: the samples, then one or more lines per metric, then the saved file."""
    if "samples" in report:
        yield _samples(report)
    for name, lines in LINES.items():
        if name in report:
            yield from lines(report[name])
    if "saved" in report:
        yield f"Samples saved as {report['saved']}"


def _samples(report: dict[str, Any]) -> str:
    samples, num_images = report["samples"], report["data"]["images"]
    settings = [f"{samples['sampler']} with {samples['steps']} steps"] if "sampler" in samples else []
    if samples.get("eta"):
        settings.append(f"eta {samples['eta']:g}")
    if "seeds" in samples:
        settings.append("seeds {} to {}".format(*samples["seeds"]))
    details = f" ({', '.join(settings)})" if settings else ""
    return (
        f"{samples['images']} samples{details} compared with {num_images} images;"
        f" features: {report['features']}; bootstrap seed {report['seed']}:"
    )


def _nll(nll: dict[str, Any]) -> Iterator[str]:
    error = f" ± {nll['standard_error']:.3f}" if nll["standard_error"] is not None else ""
    parts = ", ".join(f"{name} {nll[name]:.4f}" for name in ("L_0", "L_1 to L_T-1", "L_T"))
    yield f"{nll['bits_per_dim']:.3f}{error} bits/dim over {nll['images']} images, {nll['steps']} steps: {parts}"


def _frechet(title: str, metric: dict[str, Any]) -> Iterator[str]:
    low, high = metric["interval"]
    yield (
        f"{title} {metric['distance']:.2f} ± {metric['standard_error']:.2f} ({low:.2f} to {high:.2f}),"
        f" {metric['dimensions']} features"
    )


def _inception_score(metric: dict[str, Any]) -> Iterator[str]:
    splits = metric["splits"]
    yield (
        f"Inception Score {metric['score']:.2f} ± {metric['standard_error']:.2f}, range 1 to {metric['classes']};"
        f" reference images {metric['score_of_reference']:.2f};"
        f" mean of {splits['count']} splits {splits['mean']:.2f}, standard deviation {splits['deviation']:.2f}"
    )


def _precision_recall(metric: dict[str, Any]) -> Iterator[str]:
    parts = (
        f"{name} {metric[name]['value']:.3f} ± {metric[name]['standard_error']:.3f}" for name in ("precision", "recall")
    )
    counts = f"{metric['samples']} samples, {metric['reference']} images, {metric['neighbors']} neighbors"
    yield f"{', '.join(parts).capitalize()} ({counts})"


def _memorization(metric: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Nearest of {metric['training']} training images and their mirror images,"
        f" compared with {metric['compared_with']}:"
    )
    for kind in ("pixels", "features"):
        nearer, much_nearer, ratio = (metric[f"in_{kind}"][name] for name in ("nearer", "much_nearer", "ratio"))
        yield (
            f"  by {kind}: {_percent(nearer)} of the samples are nearer than the median of these images (50% without"
            f" copies), {_percent(much_nearer)} are nearer than their 5% quantile (5% without copies);"
            f" ratio of the medians {ratio['value']:.2f} ± {ratio['standard_error']:.2f}"
        )
    if metric["sheet"]:
        yield f"Sample | nearest by pixels | nearest by features: {metric['sheet']}"


def _percent(estimate: dict[str, Any]) -> str:
    return f"{estimate['value']:.0%} ± {estimate['standard_error']:.0%}"


LINES = {
    "nll": _nll,
    "fd": lambda metric: _frechet("Frechet distance", metric),
    "sfd": lambda metric: _frechet("Spatial Frechet distance", metric),
    "is": _inception_score,
    "pr": _precision_recall,
    "nn": _memorization,
}
