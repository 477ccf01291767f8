"""The one exception that is the person's to mend, not ours."""


class BadInput(ValueError):
    """What was asked for cannot be done; the message is one sentence that says what to do instead."""
