"""Many runs at once: which there are, how they are trained, and what a person sees of it."""
