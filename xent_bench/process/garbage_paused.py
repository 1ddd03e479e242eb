"""What a fork server imports first: it can be told modules, not functions."""

from xent_bench.process import garbage

garbage.pause()
