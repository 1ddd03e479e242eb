"""Which loss should I train my image classifier with, and can I trust its probabilities?"""
