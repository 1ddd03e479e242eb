"""What can go wrong with a run whose configuration is right, and the exit code of each."""


class DataError(ValueError):
    """The data are not there, or not what they should be; the message says the way out."""


class Unavailable(RuntimeError):
    """The tracking store or the device cannot be had."""


class Diverged(ArithmeticError):
    """The loss stopped being a number."""


# OSError: no room, no permission, no such folder
EXIT_CODES: dict[type[Exception], int] = {DataError: 3, Unavailable: 4, OSError: 4, Diverged: 5}
