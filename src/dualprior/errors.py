"""The one exception a person may see: one line that says what is wrong, the value, and what to do."""


class UserError(ValueError):
    """A mistake of the user's (parameters, files, command line). The command line prints it and exits with code 2."""
