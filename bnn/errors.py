"""The errors that a user can cause and mend."""


class UserError(Exception):
    """Something the user gave cannot be used.

    The message says what was wrong, where, what was expected and what to do. Command lines print it without a
    traceback and exit with status 2.
    """


class NetworkError(UserError, ValueError):
    """A Network, or one of its operations, breaks an invariant of the IR. The message names the layer."""
