"""Workaround for a memory leak of sessions in Gradio 6.31.

For every session Gradio stores the configuration of the whole page (for gr.DeepLinkButton, which this page does not
use), and every update after a gr.skip() creates another component. Both stay until the session expires: half a
megabyte per session and 40 kB per click.
"""

from typing import Any

import gradio as gr


class _DiscardedConfigs(dict):
    """A mapping from component ID to configuration that stores nothing and returns an empty one for every ID."""

    def __contains__(self, component_id: object) -> bool:
        return True

    def __getitem__(self, component_id: int) -> dict[str, Any]:
        return {}

    def __setitem__(self, component_id: int, config: dict[str, Any]) -> None:
        pass


def remove_extra_components(page: gr.Blocks) -> None:
    """Remove the extra components of all sessions, and disable the storage of their configurations."""
    for session in list(page.state_holder.session_data.values()):
        if not isinstance(session.config_values, _DiscardedConfigs):
            session.config_values = _DiscardedConfigs()
        components = session.blocks_config.blocks
        for component_id in components.keys() - page.blocks.keys():
            components.pop(component_id, None)
