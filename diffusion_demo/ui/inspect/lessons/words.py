"""Texts of the six lessons: titles, questions, ideas and exercises. They need no model, so they appear at once."""

from html import escape
from itertools import pairwise
from typing import NamedTuple


class Lesson(NamedTuple):
    """The words of a lesson, as HTML.

    title     short name, for the list of lessons
    question  what the lesson answers
    idea      two sentences
    attempt   something to try, with the outcome to expect
    share     t / T at which to try it, or None if it takes no other t
    symbols   what the symbols in its equations mean
    """

    title: str
    question: str
    idea: str
    attempt: str
    share: float | None
    symbols: dict[str, str]


_IMAGE = {"x<sub>0</sub>": "the image", "x<sub>t</sub>": "the image after t of T steps of noise"}
_LEFT = {
    "ᾱ<sub>t</sub>": "the product of 1 − β over the first t steps: the share of the image that is left in x<sub>t</sub>"
}
_KL = {"D<sub>KL</sub>": "Kullback–Leibler divergence: how far one distribution is from another, 0 if they are equal"}
_BITS = {"bits/dim": "bits for each value of the image, of which a pixel has three: nats / (ln 2 × number of values)"}
_NORMAL = {
    "𝒩(μ, σ²I)": "the normal distribution (Gaussian) of independent values with mean μ and variance σ²; I is the "
    "identity matrix"
}
_COST = {"L<sub>t−1</sub>": "the divergence of the step from x<sub>t</sub> to x<sub>t−1</sub>: what its guess costs"}
_GUESS = {"x̂<sub>0</sub>": "the image as the network guesses it from x<sub>t</sub>"}
_BETA = {"β<sub>t</sub>": "the variance of the noise that step t adds"}
_EPS = {"ε<sub>θ</sub>": "the noise as the network predicts it from x<sub>t</sub> and t"}
_V = {"v": "√ᾱ<sub>t</sub> ε − √(1 − ᾱ<sub>t</sub>) x<sub>0</sub>"}
_RMS = {"RMS": "root mean square: the typical difference of two values, here in gray levels of 0 to 255"}
_Q = {"q": "the distribution of images with noise, which is known exactly"}
_P = {"p<sub>θ</sub>": "the distribution of the reverse step, as computed by the network with weights θ"}

LESSONS = {
    "forward": Lesson(
        "Forward process",
        "How does an image turn into noise?",
        "Each step fades the image and adds fresh random noise, little at first and more toward the end. Because a sum "
        "of Gaussians is Gaussian, t small steps equal one big one: the weighted sum below.",
        "Drag t all the way to the right. Expect a mean near 0 and a standard deviation near 1: pure noise, whatever "
        "the image was.",
        1.0,
        _IMAGE | {"ε": "Gaussian noise with mean 0 and variance 1"} | _BETA | _LEFT | _NORMAL | _Q | _KL | _BITS,
    ),
    "schedules": Lesson(
        "Noise schedules",
        "How fast should noise be added?",
        "A schedule sets the noise β<sub>t</sub> of each step, and with it the share ᾱ<sub>t</sub> of the signal that "
        "is left. A good one ends in pure noise, from which new images can start, and spends few steps where nothing "
        "of the image is left to learn.",
        "Set t to 75 % and compare the strips. Expect almost no image on the linear schedule, and still some of it on "
        "cosine.",
        0.75,
        _BETA
        | _LEFT
        | {
            "SNR": "signal-to-noise ratio, ᾱ<sub>t</sub> / (1 − ᾱ<sub>t</sub>)",
            "τ": "the time of flow matching: 0 is the image, 1 is noise; t / T on the schedule flow",
            "z<sub>τ</sub>": "the point at time τ on the straight line from the image to the noise",
            "κ": "the length of (1 − τ, τ), by which z<sub>τ</sub> is divided to give x<sub>t</sub>",
            "u": "the velocity on that line, ε − x<sub>0</sub>: the direction from the image to the noise",
        }
        | _V,
    ),
    "reverse": Lesson(
        "Reverse step",
        "How does one step remove noise?",
        "If the clean image were known, the reverse step would be an exact Gaussian: Bayes' rule gives it from "
        "q(x<sub>t</sub> | x<sub>t−1</sub>) and q(x<sub>t−1</sub> | x<sub>0</sub>). The network guesses the image "
        "instead, and the step is taken as if that were right.",
        "Set t to 90 %. Expect a blurred guess: the average of all images that could be hidden under that much noise.",
        0.9,
        _GUESS
        | {
            "μ<sub>θ</sub>, Σ<sub>θ</sub>": "mean and variance of the step from x<sub>t</sub> to x<sub>t−1</sub>",
            "β̃<sub>t</sub>": "the variance of that step if the image were known",
        }
        | _Q
        | _P
        | _COST
        | _RMS
        | {"DDIM": "a sampler that adds no fresh noise, so its steps can be taken backward, from an image to noise"},
    ),
    "training": Lesson(
        "Training objective",
        "What does the network learn?",
        "Training adds known noise to an image, and the network learns to tell the two apart; the squared error is the "
        "loss. Some networks predict the noise ε, some the image x<sub>0</sub>, some a mixture v: with "
        "x<sub>t</sub> known, each gives the others, and their errors differ only by a factor.",
        "Set t to 5 %. Expect a larger error of ε than at 90 %: little noise is hard to tell from the image's details.",
        0.05,
        _EPS
        | {
            "L<sub>simple</sub>": "the loss: the squared error of the predicted noise, each t counting the same",
            "𝔼": "the average over images, noise and t",
        }
        | _V,
    ),
    "likelihood": Lesson(
        "Likelihood",
        "How many bits does an image cost?",
        "Every wrong guess costs bits: each step pays the divergence between the true reverse step and the model's. "
        "The sum bounds −log p(x<sub>0</sub>). Lower is better; 8 means no compression.",
        "Note the sum, then choose a photograph among the examples above. Expect far more bits than for an image like "
        "the model's training data.",
        None,
        _KL
        | _BITS
        | _Q
        | _P
        | _COST
        | {
            "L<sub>0</sub>": "the bits of the last step, to whole pixel values",
            "L<sub>T</sub>": "the information about the image left in x<sub>T</sub>",
            "μ<sup>i</sup><sub>θ</sub>, σ<sub>1</sub>": "mean (of value i) and standard deviation of the last step",
            "δ<sub>−</sub>, δ<sub>+</sub>": "the bounds of the interval that is rounded to one pixel value",
        },
    ),
    "guidance": Lesson(
        "Guidance",
        "How does a class steer the image?",
        "The difference between the predictions with and without a class points toward that class. Guidance "
        "pushes further that way: where a model follows its classes weakly, images match them better but vary less; "
        "those of the bundled model mainly gain contrast. If t is below 50 %, this lesson opens at 80 %, where a class "
        "matters.",
        "Set t to 10 %. Expect the same image for every class, at most recolored: at low noise, a class changes only "
        "details.",
        0.1,
        {
            "c": "a class",
            "∅": "no class; in training the class is left out at random (label dropout), so the network knows both",
            "s": "the guidance scale: 0 ignores the class, 1 adds no guidance, more pushes toward the class",
            "ε̃": "the noise as guidance changes its prediction",
        }
        | _EPS
        | _GUESS
        | _RMS,
    ),
}
DEFAULT = "forward"
OPENING_SHARES = {"guidance": 0.8}  # t / T at which a lesson opens if t is below half of it; elsewhere t stays


def heads() -> str:
    """Return the introductions of all lessons as HTML. The page shows one at a time."""
    return "".join(_head(name, number, lesson) for number, (name, lesson) in enumerate(LESSONS.items(), 1))


def _head(name: str, number: int, lesson: Lesson) -> str:
    signs = "".join(f"<dt>{sign}</dt><dd>{meaning}</dd>" for sign, meaning in lesson.symbols.items())
    idea, attempt = (text.replace(" %", "\N{NO-BREAK SPACE}%") for text in (lesson.idea, lesson.attempt))
    return (
        f'<header class="head" data-lesson="{name}" hidden><p class="number">Lesson {number} of {len(LESSONS)}</p>'
        f'<h2>{lesson.question}</h2><p class="idea">{idea}</p>'
        f'<p class="try"><b>Try it.</b> {attempt} {_set_t(lesson.share)}</p>'
        f'<details class="symbols"><summary>Symbols in this lesson</summary><dl>{signs}</dl></details></header>'
    )


def _set_t(share: float | None) -> str:
    if share is None:
        return ""
    return f'<button type="button" class="set-t" data-share="{share}">Set t to {100 * share:.0f} %</button>'


def navigation() -> str:
    """Return the buttons that choose a lesson, as HTML."""
    return "".join(
        f'<button type="button" class="go-to" data-lesson="{name}" data-open="{OPENING_SHARES.get(name, "")}">'
        f"<b>{number}</b> {escape(lesson.title)}</button>"
        for number, (name, lesson) in enumerate(LESSONS.items(), 1)
    )


def ways_on() -> str:
    """Return the buttons from each lesson to the one after it, as HTML. The page shows one at a time."""
    return "".join(
        f'<p class="next" data-lesson="{name}" hidden><button type="button" class="go-to" data-lesson="{after}">'
        f"Next: {LESSONS[after].question} →</button></p>"
        for name, after in pairwise(LESSONS)
    )
