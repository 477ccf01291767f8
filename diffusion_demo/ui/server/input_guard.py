"""What stands between any caller and the handlers: a page checks what it sends, other programs do not."""

import sys
import traceback
from pathlib import Path

import gradio as gr

from diffusion_demo.ui.server.limits import Calls
from diffusion_demo.ui.settings import Settings

UNREADABLE = "What was sent cannot be read here; reload the page and try again."
WENT_WRONG = "Something went wrong here, which is not your fault; reload the page and try again."
MOST_CHARACTERS, MOST_ITEMS, DEEPEST = 100_000, 20_000, 12


class GuardedBlocks(gr.Blocks):
    """Blocks where inputs that no page would send end in one sentence, not in a traceback, and where no visitor calls too often."""

    def __init__(self, settings: Settings, **options):
        super().__init__(**options)
        self._calls, self._public = Calls(settings.calls_a_minute), settings.public

    async def preprocess_data(self, block_fn, inputs, *arguments, **options):
        try:
            _refuse_the_huge(inputs)
            return await super().preprocess_data(block_fn, inputs, *arguments, **options)
        except gr.Error as error:
            error.print_exception = False  # the caller's to mend, so nothing for the log
            raise
        except Exception as error:
            raise gr.Error(UNREADABLE, print_exception=False) from error

    async def process_api(self, block_fn, inputs, state=None, request=None, iterator=None, **options):
        if iterator is None and request is not None:
            self._calls.count(request)
        try:
            return await super().process_api(block_fn, inputs, state, request, iterator, **options)
        except (gr.Error, StopAsyncIteration):
            raise
        except Exception as error:
            self._log(error, block_fn)
            raise gr.Error(WENT_WRONG, print_exception=False) from error

    def _log(self, error: Exception, block_fn) -> None:
        """A fault of ours, whole on one's own machine; on a public page a line, which strangers may cause as often as they like."""
        if self._public:
            last = traceback.extract_tb(error.__traceback__)[-1]
            name = getattr(block_fn, "name", block_fn)
            print(
                f"Failed: {name} ({type(error).__name__}, {Path(last.filename).name}:{last.lineno})",
                file=sys.stderr,
                flush=True,
            )
        else:
            traceback.print_exception(error)


def _refuse_the_huge(inputs: list) -> None:
    """Raise ValueError for texts, lists and nestings beyond what any field of the page holds, and for texts that are none."""
    todo, seen = [(inputs, 0)], 0
    while todo:
        value, depth = todo.pop()
        seen += 1
        if seen > MOST_ITEMS or depth > DEEPEST or (isinstance(value, str) and len(value) > MOST_CHARACTERS):
            raise ValueError("larger than any field")
        if isinstance(value, str):
            value.encode()  # half a character could not be sent back
        if isinstance(value, dict):
            todo += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            todo += [(item, depth + 1) for item in value]
