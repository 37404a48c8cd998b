"""The one error a caller of the embedded servers sees."""


class EmbeddedServerError(Exception):
    """An embedded server cannot run; the text says why and what the reader can do about it."""
