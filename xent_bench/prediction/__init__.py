"""Predictions for new images with a trained net: calibrated, with sets, abstentions, ensembles."""
