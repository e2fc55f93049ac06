"""The one exception that means: the user can mend this."""


class UserError(Exception):
    """A mistake of the user's; its message is one sentence that says what to do.

    The command line prints the message without a traceback and exits with code 2. Nothing already written is lost.
    """
