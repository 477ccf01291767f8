"""One sentence for each error of ZeroGPU, whose own messages use internal names and sometimes HTML."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import gradio as gr

AGAIN_TOMORROW = "Make fewer images or use fewer steps, log in to Hugging Face for more, or come back tomorrow."
NO_GPU = "All GPUs are busy. Try again in a minute."
ABORTED = "The GPU stopped before the images were finished. Try again, with fewer images or steps."
# By the titles of `spaces` 0.51.3 (its zero/client.py and zero/wrappers.py).
SENTENCES = {
    "ZeroGPU quota exceeded": f"Your GPU time for today is used up. {AGAIN_TOMORROW}",
    "ZeroGPU illegal duration": "This needs more GPU time than one call may use. Make fewer images or use fewer steps.",
    "ZeroGPU pending credits exceeded": "Your other GPU calls are still running. Wait for them to end and try again.",
    "ZeroGPU queue timeout": NO_GPU,
    "ZeroGPU client error": NO_GPU,
    "ZeroGPU worker error": ABORTED,
}
AMOUNTS = re.compile(r"\((\d+)s requested vs\. (-?\d+)s left\)")


@contextmanager
def quota_errors_as_sentences() -> Iterator[None]:
    """Convert the errors of ZeroGPU inside the block to gr.Error with one sentence."""
    try:
        yield
    except gr.Error as error:
        if sentence := _sentence(error):
            raise gr.Error(sentence, print_exception=False) from error
        raise


def _sentence(error: gr.Error) -> str | None:
    """Return the sentence for an error of ZeroGPU; None for any other error."""
    title, message = str(getattr(error, "title", "")), str(error.message)
    if title == "ZeroGPU quota exceeded":
        if amounts := AMOUNTS.search(message):
            needed, left = amounts.groups()
            return f"This needs {needed} seconds of GPU time, and you have {max(0, int(left))} left. {AGAIN_TOMORROW}"
        if "No GPU was available" in message:
            return NO_GPU
    return SENTENCES.get(title)
