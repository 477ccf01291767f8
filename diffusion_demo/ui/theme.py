"""Theme of the page, with contrast that meets WCAG AA, and system fonts."""

from gradio.themes import Default

THEME = Default(
    primary_hue="indigo",
    neutral_hue="slate",
    font=["system-ui", "sans-serif"],
    font_mono=["ui-monospace", "monospace"],
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    block_title_text_color="*neutral_800",
    block_title_text_color_dark="*neutral_100",
    block_title_text_weight="600",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
    checkbox_border_color="*neutral_500",
    checkbox_border_color_dark="*neutral_400",
    slider_color="*primary_600",
    slider_color_dark="*primary_400",
    button_primary_background_fill="*primary_600",
    button_primary_background_fill_hover="*primary_700",
    button_primary_background_fill_dark="*primary_600",
    button_primary_background_fill_hover_dark="*primary_500",
    button_cancel_background_fill="#b91c1c",
    button_cancel_background_fill_hover="#991b1b",
    button_cancel_background_fill_dark="#b91c1c",
    button_cancel_background_fill_hover_dark="#991b1b",
)

# Gradio colors the selected tab with the accent color, of which a theme has one for both modes: its contrast is too low
# on a white and on a dark background.
CONTRAST_CSS = (
    "button[role=tab].selected{color:var(--primary-600)} .dark button[role=tab].selected{color:var(--primary-400)}"
)
