"""A report of `evaluate` -> the lines that a person reads."""

from collections.abc import Iterator


def report_lines(report: dict) -> Iterator[str]:
    """One line or two a measure, in the order of the report."""
    if "samples" in report:
        yield _samples(report)
    for name, line in LINES.items():
        if name in report:
            yield from line(report[name])
    if "saved" in report:
        yield f"Samples saved as {report['saved']}"


def _samples(report: dict) -> str:
    samples, images = report["samples"], report["data"]["pictures"]
    made = [f"{samples['sampler']} with {samples['steps']} steps"] if "sampler" in samples else []
    if samples.get("eta"):
        made.append(f"eta {samples['eta']:g}")
    if "seeds" in samples:
        made.append("seeds {} to {}".format(*samples["seeds"]))
    made = f" ({', '.join(made)})" if made else ""
    return f"{samples['pictures']} samples{made} from {images} images, features of {report['features']}, resampled from seed {report['seed']}:"


def _bound(nll: dict) -> Iterator[str]:
    error = f" ± {nll['standard_error']:.3f}" if nll["standard_error"] is not None else ""
    parts = ", ".join(f"{name} {nll[name]:.4f}" for name in ("L_0", "L_1 to L_T-1", "L_T"))
    yield f"{nll['bits_per_dim']:.3f}{error} bits/dim over {nll['pictures']} images, {nll['steps']} steps: {parts}"


def _distance(title: str, found: dict) -> Iterator[str]:
    low, high = found["interval"]
    yield f"{title} {found['distance']:.2f} ± {found['standard_error']:.2f} ({low:.2f} to {high:.2f}), in {found['dimensions']} features"


def _score(found: dict) -> Iterator[str]:
    splits = found["splits"]
    yield (
        f"Inception Score {found['score']:.2f} ± {found['standard_error']:.2f}, from 1 to {found['classes']}; of the images themselves"
        f" {found['score_of_reference']:.2f}; in {splits['count']} splits {splits['mean']:.2f}, deviation {splits['deviation']:.2f}"
    )


def _precision_recall(found: dict) -> Iterator[str]:
    parts = (
        f"{name} {found[name]['value']:.3f} ± {found[name]['standard_error']:.3f}" for name in ("precision", "recall")
    )
    counts = f"{found['samples']} samples, {found['reference']} images, {found['neighbours']} neighbors"
    yield f"{', '.join(parts).capitalize()} ({counts})"


def _nearest(found: dict) -> Iterator[str]:
    yield f"Nearest of {found['training']} training images and their mirror images, beside {found['compared_with']}:"
    for kind in ("pixels", "features"):
        nearer, much, ratio = (found[f"in_{kind}"][name] for name in ("nearer", "much_nearer", "ratio"))
        yield (
            f"  by {kind}: {_percent(nearer)} of the samples are nearer than the median of these (50% if none is a copy), {_percent(much)} than"
            f" their nearest twentieth (5%); the median is {ratio['value']:.2f} ± {ratio['standard_error']:.2f} of theirs"
        )
    if found["sheet"]:
        yield f"Sample | nearest by pixels | nearest by features: {found['sheet']}"


def _percent(found: dict) -> str:
    return f"{found['value']:.0%} ± {found['standard_error']:.0%}"


LINES = {
    "nll": _bound,
    "fd": lambda found: _distance("Frechet distance", found),
    "sfd": lambda found: _distance("Spatial Frechet distance", found),
    "is": _score,
    "pr": _precision_recall,
    "nn": _nearest,
}
