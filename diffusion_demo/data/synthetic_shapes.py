"""A synthetic dataset of four balanced classes with a known distribution, to try training without images.

Every image is one shape on white. Its color is uniform over COLORS, its radius is uniform in RADII (as a fraction of
the side), and its center is uniform over all positions where the shape fits. Faces smile or frown with equal
probability.
"""

import random
from pathlib import Path

from PIL import Image, ImageDraw

CLASSES = ("circles", "faces", "squares", "triangles")
COLORS = ((220, 38, 38), (37, 99, 235), (22, 163, 74), (234, 179, 8))
RADII = (0.2, 0.4)
SIDE, OVERSAMPLING = 64, 4


def draw(class_name: str, generator: random.Random) -> Image.Image:
    """Draw a random image of a class, RGB with SIDE x SIDE pixels."""
    side = SIDE * OVERSAMPLING
    image = Image.new("RGB", (side, side), "white")
    pen, color = ImageDraw.Draw(image), generator.choice(COLORS)
    radius = generator.uniform(*RADII) * side
    x, y = (generator.uniform(radius, side - radius) for _ in range(2))
    box = (x - radius, y - radius, x + radius, y + radius)
    if class_name == "squares":
        pen.rectangle(box, fill=color)
    elif class_name == "triangles":
        pen.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=color)
    else:
        pen.ellipse(box, fill=color)
    if class_name == "faces":
        _draw_face(pen, x, y, radius, smiles=generator.random() < 0.5)
    return image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def _draw_face(pen: ImageDraw.ImageDraw, x: float, y: float, radius: float, smiles: bool) -> None:
    for side in (-1, 1):
        eye_x, eye_y, eye_radius = x + side * 0.35 * radius, y - 0.25 * radius, 0.12 * radius
        box = (eye_x - eye_radius, eye_y - eye_radius, eye_x + eye_radius, eye_y + eye_radius)
        pen.ellipse(box, fill="black")
    mouth = (x - 0.5 * radius, y, x + 0.5 * radius, y + 0.6 * radius)
    start, end = (20, 160) if smiles else (200, 340)
    pen.arc(mouth, start, end, fill="black", width=max(1, round(0.1 * radius)))


def write_synthetic(folder: Path, each: int = 100, seed: int = 0) -> None:
    """Write `each` images of every class as PNG files into class folders, which must not exist.

    Equal arguments give equal files.
    """
    generator = random.Random(seed)
    for class_name in CLASSES:
        (folder / class_name).mkdir(parents=True)
        for i in range(each):
            draw(class_name, generator).save(folder / class_name / f"{i:04d}.png")
