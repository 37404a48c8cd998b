"""The error a person sees when the stack cannot start or go on."""


class StackError(Exception):
    """The stack cannot start; the text is a sentence that says why and what to do."""
