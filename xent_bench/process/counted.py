"""Lines on stderr that count what is done, where it takes long."""

import sys
import time


class Counted:
    """Counts, and says now and then how far it is: 'decoding images: 3,200 of 10,000'."""

    def __init__(self, text: str, n: int, *, quiet: float = 3.0, between: float = 30.0) -> None:
        """`quiet`: seconds before the first line; `between`: seconds between two lines."""
        self.text, self.n, self.between = text, n, between
        self.done, self.next_line = 0, time.monotonic() + quiet

    def count(self, more: int = 1) -> None:
        """Count so many more; print a line if it is time."""
        self.done += more
        now = time.monotonic()
        if now > self.next_line:
            self.next_line = now + self.between
            print(f"{self.text}: {self.done:,} of {self.n:,}", file=sys.stderr, flush=True)
