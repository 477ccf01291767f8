"""Workarounds for the memory and time that sessions need in Gradio 6.31.

Every session stores the configuration of the whole page for gr.DeepLinkButton, which this page does not use. For each
update of a component it computes that component's configuration and JSON schema again. Also, every update after a
gr.skip() creates another component, which stays until the session expires.
"""

from types import SimpleNamespace
from typing import Any

import gradio as gr
from gradio import state_holder


class _DiscardedConfigs(dict):
    """A mapping from component ID to configuration that stores nothing and returns an empty one for every ID."""

    def __contains__(self, component_id: object) -> bool:
        return True

    def __getitem__(self, component_id: int) -> dict[str, Any]:
        return {}

    def __setitem__(self, component_id: int, config: dict[str, Any]) -> None:
        pass


class _SessionWithoutConfigs(state_holder.SessionState):
    """A session state that stores no component configurations."""

    def __init__(self, blocks: gr.Blocks):
        # Gradio makes a configuration for each of `blocks`.
        super().__init__(SimpleNamespace(default_config=blocks.default_config, blocks={}))  # pyright: ignore[reportArgumentType]
        self.config_values = _DiscardedConfigs()
        # Set on the session's own copy, so the configuration of the page is not affected.
        self.blocks_config.config_for_block = lambda *_arguments: {}  # pyright: ignore[reportAttributeAccessIssue]


def keep_no_configs() -> None:
    """Make Gradio create sessions without configurations."""
    state_holder.SessionState = _SessionWithoutConfigs


def remove_extra_components(page: gr.Blocks) -> None:
    """Remove the extra components of all sessions."""
    for session in list(page.state_holder.session_data.values()):
        components = session.blocks_config.blocks
        for component_id in components.keys() - page.blocks.keys():
            components.pop(component_id, None)
