"""The functions of `import xent_bench as xb`, for a notebook or a program of your own."""
