"""Python's search for cyclic garbage, which takes a quarter of the time of our imports.

So it is off until the imports are done. From then on it leaves out what has been imported: the
search writes to every object that it looks at, and forked processes could no longer share those
pages of memory (the manual of Python's gc advises this for them).
"""

import atexit
import gc


def pause() -> None:
    """Switch the search off. For our own commands, never in a program that imports the package."""
    gc.disable()


def resume() -> None:
    """Switch a paused search on again, without the objects that exist now."""
    if not gc.isenabled():
        gc.freeze()
        atexit.register(
            gc.unfreeze
        )  # or libraries report the objects that they still hold as leaks
        gc.enable()
