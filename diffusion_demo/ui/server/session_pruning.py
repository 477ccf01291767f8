"""What gradio keeps of a visit: much more than is asked for here.

For links that bring a visit back (gr.DeepLinkButton), of which the page has none, it describes the whole page once more for everybody. And after
every gr.skip() a component that is shown something becomes one more component, which stays: half a megabyte a visit and 40 kB a click,
until the visit itself is forgotten (gradio 6.31).
"""

import gradio as gr


class _Kept(dict):
    """Descriptions by the number of their component, of which none is kept: each is there, and says nothing."""

    def __contains__(self, number: object) -> bool:
        return True

    def __getitem__(self, number: int) -> dict:
        return {}

    def __setitem__(self, number: int, description: dict) -> None:
        pass


def prune_sessions(page: gr.Blocks) -> None:
    """Let go of what all visits have beyond the page's own components, and of descriptions now and in future."""
    for visit in list(page.state_holder.session_data.values()):
        if not isinstance(visit.config_values, _Kept):
            visit.config_values = _Kept()
        components = visit.blocks_config.blocks
        for number in components.keys() - page.blocks.keys():
            components.pop(number, None)
