"""Server-side validation of every API call. Programs can call the endpoints directly, without the page's own checks."""

import sys
import traceback
from contextvars import ContextVar
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import gradio as gr
from gradio.blocks import Block

from diffusion_demo.errors import BadInput
from diffusion_demo.ui.server import event_details, rate_limit, schemas, session_leak, temp_files, upload_quota
from diffusion_demo.ui.server.queue_guard import QueueGuard, as_text
from diffusion_demo.ui.server.visitor_files import VisitorFiles, paths_in
from diffusion_demo.ui.server.visitors import visitor_of
from diffusion_demo.ui.settings import Settings

INVALID_INPUT = "The server cannot read this input. Reload the page and try again."
NOT_CALLABLE = "This action runs in the browser only. Reload the page and try again."
INTERNAL_ERROR = "Internal server error. Reload the page and try again."
MAX_CHARACTERS, MAX_ITEMS, MAX_DEPTH = 100_000, 100_000, 12
MAX_EVENT_ITEMS = 500  # in the details of an event, such as the settings of an image

_request: ContextVar["gr.Request | None"] = ContextVar("request", default=None)  # of the call that is processed


class GuardedBlocks(gr.Blocks):
    """Blocks with a rate limit that check every input against its schema before a component or handler sees it."""

    def __init__(self, settings: Settings, **options: Any):
        session_leak.keep_no_configs()
        super().__init__(**options)
        self._rate_limiter, self._public = rate_limit.RateLimiter(settings.calls_a_minute), settings.public
        self._max_file_bytes = settings.upload_mb * 1_000_000

    @cached_property
    def visitor_files(self) -> VisitorFiles:
        """The files that each visitor may name. Use it when the page is complete."""
        page_files = {path for block in self.blocks.values() for path in block.keep_in_cache}
        page_files |= set(paths_in(self.get_config_file()))
        return VisitorFiles(page_files, self._max_file_bytes)

    def queue(self, **options: Any) -> Self:
        """Configure the queue as Gradio does, with limits per visitor. Returns the page."""
        super().queue(**options)
        QueueGuard(self._queue)
        return self

    def launch(self, *arguments: Any, **options: Any) -> Any:
        """Check that every endpoint has a schema, then launch. Raises TypeError if one has none."""
        schemas.endpoint_schemas(self)
        return super().launch(*arguments, **options)

    async def preprocess_data(
        self, block_fn: Any, inputs: list[Any], state: Any, *arguments: Any, **options: Any
    ) -> Any:
        """Replace the inputs by checked ones, then preprocess as Gradio does. Raises gr.Error for invalid input."""
        try:
            checked = self._validated(block_fn, inputs, state)
            return await super().preprocess_data(block_fn, checked, state, *arguments, **options)
        except gr.Error as error:
            error.print_exception = False  # an error of the caller, which does not belong in the log
            raise
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from error
        except Exception as error:
            raise gr.Error(INVALID_INPUT, print_exception=False) from error

    def _validated(self, block_fn: Any, inputs: list[Any], state: Any) -> list[Any]:
        """Return the checked inputs of a call. Raises BadInput or ValueError."""
        if not schemas.is_callable(block_fn):
            raise BadInput(NOT_CALLABLE)
        check_size(inputs)
        if len(inputs) != len(block_fn.inputs):
            raise BadInput(INVALID_INPUT)
        # A handler may have given this session other choices or another range.
        blocks = [state[block._id] if state and block._id in state else block for block in block_fn.inputs]
        return [
            schemas.schema_of(own if isinstance(own, Block) else block).validate(value, self._check_path)
            for own, block, value in zip(blocks, block_fn.inputs, inputs, strict=True)
        ]

    def _check_path(self, path: str, url: str | None) -> str:
        request = _request.get()
        hosts = {request.headers.get(name, "") for name in ("host", "x-forwarded-host")} if request else set()
        return self.visitor_files.check(visitor_of(request), hosts, path, url)

    async def postprocess_data(self, block_fn: Any, predictions: Any, state: Any) -> Any:
        """Postprocess as Gradio does. The visitor may then name the files of the answer in later requests."""
        outputs = await super().postprocess_data(block_fn, predictions, state)
        _keep_preprocessing(block_fn.outputs, state)
        visitor = visitor_of(_request.get())
        self.visitor_files.remember_sent(visitor, outputs)
        upload_quota.count_written(visitor, paths_in(outputs))
        return outputs

    async def process_api(
        self,
        block_fn: Any,
        inputs: list[Any],
        state: Any = None,
        request: Any = None,
        iterator: Any = None,
        **options: Any,
    ) -> Any:
        """Count the call, then process it as Gradio does. Raises gr.Error for a call that exceeds the rate limit."""
        if isinstance(request, list):  # of a batch, which this page does not have
            raise gr.Error(INVALID_INPUT, print_exception=False)
        if iterator is None and request is not None and not self._rate_limiter.allow(visitor_of(request)):
            raise gr.Error(rate_limit.TOO_MANY, print_exception=False)
        _request.set(request)
        try:
            if iterator is None:
                upload_quota.check_room(visitor_of(request))
            options["event_data"] = _checked_event(block_fn, options.get("event_data"))
            temp_files.restore()
            return await super().process_api(block_fn, inputs, state, request, iterator, **options)
        except gr.Error as error:
            error.message = as_text(error.message)
            raise
        except BadInput as error:
            raise gr.Error(str(error), print_exception=False) from error
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._log(error, block_fn)
            raise gr.Error(INTERNAL_ERROR, print_exception=False) from error

    def _log(self, error: Exception, block_fn) -> None:
        """Log an internal error: with its traceback locally, in one line on a public page to keep the log small."""
        if self._public:
            last = traceback.extract_tb(error.__traceback__)[-1]
            name = getattr(block_fn, "name", block_fn)
            location = f"{Path(last.filename).name}:{last.lineno}"
            print(f"Failed: {name} ({type(error).__name__}, {location})", file=sys.stderr, flush=True)
        else:
            traceback.print_exception(error)


def _keep_preprocessing(blocks: list[Block], state: Any) -> None:
    """Give the components of a session the `preprocess` that is set on those of the page.

    Gradio 6.31 makes a new component, without attributes of the instance, for each session that updates one.
    """
    for block in blocks:
        if "preprocess" in vars(block) and state and block._id in state:
            state[block._id].preprocess = vars(block)["preprocess"]


def _checked_event(block_fn: Any, event: Any) -> Any:
    """Return an event with checked details. Raises BadInput unless they are small, without files and as the schema."""
    details = getattr(event, "_data", None)
    try:
        check_size(details, MAX_EVENT_ITEMS)
        if has_file(details):
            raise ValueError("an event has no files")
    except ValueError as error:
        raise BadInput(INVALID_INPUT) from error
    return event_details.checked_details(getattr(block_fn, "fn", None), event)


def has_file(value: Any) -> bool:
    """Return whether a value contains anything that Gradio would take for a file."""
    if isinstance(value, dict):
        return isinstance(value.get("path"), str) or any(map(has_file, value.values()))
    return isinstance(value, list | tuple) and any(map(has_file, value))


def check_size(inputs: Any, max_items: int = MAX_ITEMS) -> None:
    """Raise ValueError for strings, lists and nestings larger than any field needs, and for lone surrogates."""
    pending: list[tuple[Any, int]] = [(inputs, 0)]
    count = 0
    while pending:
        value, depth = pending.pop()
        count += 1
        if count > max_items or depth > MAX_DEPTH or (isinstance(value, str) and len(value) > MAX_CHARACTERS):
            raise ValueError("input is too large")
        if isinstance(value, str):
            value.encode()  # a lone surrogate could not be sent back
        if isinstance(value, dict):
            pending += [(item, depth + 1) for pair in value.items() for item in pair]
        elif isinstance(value, list | tuple):
            pending += [(item, depth + 1) for item in value]
