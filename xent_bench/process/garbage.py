"""Python's search for cyclic garbage, which takes a quarter of the time of our imports.

So it is off till they are done. What has been imported is left out of it from then on: the search
writes to all that it looks at, and processes that a server forks could not go on sharing it (the
manual of Python's gc advises this for them).
"""

import atexit
import gc


def pause() -> None:
    """Before the imports of a command; not of somebody else's program, which imports us."""
    gc.disable()


def resume() -> None:
    """If it was paused; all that there is now is kept, and is not searched again."""
    if not gc.isenabled():
        gc.freeze()
        atexit.register(gc.unfreeze)  # or libraries report what they still hold as leaked
        gc.enable()
