"""The one exception that is the person's to mend, not ours."""


class BadInput(ValueError):
    """What was asked for cannot be done; the message is one sentence that says what to do instead.

    field: the setting that it is about, where it is about one: a form shows the sentence there.
    """

    def __init__(self, message: str, field: str | None = None):
        super().__init__(message)
        self.field = field
