"""The evaluation of a trained net from its stored predictions: every number and picture."""
