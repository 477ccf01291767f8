"""Style sheets of the page, whose selectors Gradio prefixes."""

import re

import pytest

from diffusion_demo.paths import read_asset
from diffusion_demo.ui.launch import STYLES

MEDIA_QUERY = re.compile(r"@media[^{]*\{((?:[^{}]*\{[^{}]*\})*)[^{}]*\}")
RULE = re.compile(r"([^{}]+)\{[^{}]*\}")
OUTSIDE = re.compile(r"(^|[\s,])(html|body|footer|:root|gradio-app|\.gradio-container)\b")


@pytest.mark.parametrize("name", STYLES)
def test_no_media_query_names_what_contains_the_tabs(name):
    """Gradio prefixes these rules, so they match only inside the main element. Such rules belong in whole_page.css."""
    for query in MEDIA_QUERY.finditer(read_asset(name)):
        assert not [rule[1] for rule in RULE.finditer(query[1]) if OUTSIDE.search(rule[1].strip())]
