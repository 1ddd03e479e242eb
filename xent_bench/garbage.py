"""Python's search for cyclic garbage, which takes a quarter of the time of our imports.

So it is off till they are done. The processes that a server forks inherit what it has imported:
as that is then left out of the search, which writes to all that it looks at, they go on sharing it.
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
