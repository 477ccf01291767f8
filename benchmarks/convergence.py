"""Plot of the convergence of each sampler to the exact flow of Gaussian data.

    python -m benchmarks.convergence

Writes convergence.png into the folder of this file.
"""

from math import log10
from pathlib import Path

from PIL import Image, ImageDraw

from tests.diffusion.test_order import error_at_the_lowest_noise_level

COUNTS = (10, 20, 40, 80, 160, 320, 640)
LINES = {"ddim": "#c2410c", "dpm_solver": "#4338ca"}
WIDTH, HEIGHT, LEFT, BOTTOM, DECADES = 720, 460, 70, 50, 6
SCHEDULE = "linear"


def point(i: int, error: float) -> tuple[float, float]:
    """Return the pixel position of step count i and an error in 1 .. 1e-6, on a logarithmic axis."""
    across = (WIDTH - LEFT - 130) / (len(COUNTS) - 1)
    return LEFT + i * across, 20 - log10(error) * (HEIGHT - BOTTOM - 20) / DECADES


def main() -> None:
    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for power in range(DECADES + 1):
        x, y = point(0, 10.0**-power)
        draw.line([(x, y), (WIDTH - 130, y)], fill="#cbd5e1")
        draw.text((14, y - 6), f"1e-{power}" if power else "1", fill="#334155")
    for i, count in enumerate(COUNTS):
        draw.text((point(i, 1)[0] - 8, HEIGHT - BOTTOM + 8), str(count), fill="#334155")
    draw.text(
        (LEFT, HEIGHT - 22),
        f"steps; error at the lowest noise level, {SCHEDULE} schedule, data N(0, 0.3)",
        fill="#334155",
    )
    for name, color in LINES.items():
        errors = [error_at_the_lowest_noise_level(name, SCHEDULE, count) for count in COUNTS]
        points = [point(i, error) for i, error in enumerate(errors)]
        draw.line(points, fill=color, width=3)
        draw.text((points[-1][0] + 8, points[-1][1] - 6), name, fill=color)
        print(name, *(f"{count}: {error:.2e}" for count, error in zip(COUNTS, errors, strict=True)), sep="  ")
    image.save(Path(__file__).with_name("convergence.png"), optimize=True)


if __name__ == "__main__":
    main()
