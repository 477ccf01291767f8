"""Words of the six lessons: their titles, questions, ideas and attempts. They need no model, so they show at once."""

from html import escape
from typing import NamedTuple


class Lesson(NamedTuple):
    """The words of a lesson, as HTML.

    title     short name, for the list of lessons
    question  what the lesson answers
    idea      two sentences
    attempt   something to try, with the outcome to expect
    share     t / T at which to try it
    """

    title: str
    question: str
    idea: str
    attempt: str
    share: float


LESSONS = {
    "forward": Lesson(
        "Forward process",
        "How does an image turn into noise?",
        "Each step fades the image slightly and adds a little random noise (a Markov chain). Because a sum of "
        "Gaussians is Gaussian, t small steps equal one big one: the weighted sum below.",
        "Drag t all the way to the right. Expect a mean near 0 and a standard deviation near 1: pure noise, whatever "
        "the image was.",
        1.0,
    ),
    "schedules": Lesson(
        "Noise schedules",
        "How fast should noise be added?",
        "A schedule sets the noise β<sub>t</sub> of each step, and with it the share ᾱ<sub>t</sub> of the signal that "
        "is left. A good one ends in pure noise, and spends few steps where nothing of the image is left to learn.",
        "Set t to 70 %. Expect almost no image on the linear schedule, and still a fifth of the signal on cosine.",
        0.7,
    ),
    "reverse": Lesson(
        "Reverse step",
        "How does one step remove noise?",
        "If the clean image were known, the reverse step would be an exact Gaussian. The network predicts the image "
        "instead, and steps as if that were right.",
        "Set t to 90 %. Expect a blurred guess: the average of all images that could be hidden under that much noise.",
        0.9,
    ),
    "training": Lesson(
        "Training objective",
        "What does the network learn?",
        "Training adds known noise to an image and asks the network for it; the squared error is the loss. Predicting "
        "the noise ε, the image x<sub>0</sub> or v is the same guess, and their errors differ only by a factor.",
        "Set t to 5 %. Expect a larger error of ε than at 90 %: little noise is hard to tell from the image's details.",
        0.05,
    ),
    "likelihood": Lesson(
        "Likelihood",
        "How many bits does an image cost?",
        "Every wrong guess costs bits: each step pays the divergence between the true reverse step and the model's. "
        "The sum bounds −log p(x<sub>0</sub>). Lower is better; 8 means no compression.",
        "Choose a photograph among the examples. Expect more bits than for an image like the model's training data.",
        0.05,
    ),
    "guidance": Lesson(
        "Guidance",
        "How does a class steer the image?",
        "The difference between the predictions with and without a class points toward that class. Guidance "
        "pushes further that way: images match the class better but vary less.",
        "Set t to 10 %. Expect no visible difference between the classes: by then the image is already settled.",
        0.1,
    ),
}
DEFAULT = "forward"
OPENING_SHARES = {"guidance": 0.8}  # t / T at which a lesson opens if t is below half of it; elsewhere t stays


def heads() -> str:
    """Return the introductions of all lessons as HTML. The page shows one at a time."""
    return "".join(_head(name, number, lesson) for number, (name, lesson) in enumerate(LESSONS.items(), 1))


def _head(name: str, number: int, lesson: Lesson) -> str:
    button = f'<button type="button" class="set-t" data-share="{lesson.share}">Set t to {lesson.share:.0%}</button>'
    return (
        f'<header class="head" data-lesson="{name}" hidden><p class="number">Lesson {number} of {len(LESSONS)}</p>'
        f'<h2>{lesson.question}</h2><p class="idea">{lesson.idea}</p>'
        f'<p class="try"><b>Try it.</b> {lesson.attempt} {button}</p></header>'
    )


def navigation() -> str:
    """Return the buttons that choose a lesson, as HTML."""
    return "".join(
        f'<button type="button" class="go-to" data-lesson="{name}" data-open="{OPENING_SHARES.get(name, "")}">'
        f"<b>{number}</b> {escape(lesson.title)}</button>"
        for number, (name, lesson) in enumerate(LESSONS.items(), 1)
    )


def following(name: str) -> tuple[str, str] | None:
    """Return the name and the question of the lesson after this one, or None for the last."""
    names = list(LESSONS)
    index = names.index(name) + 1
    return (names[index], LESSONS[names[index]].question) if index < len(names) else None
