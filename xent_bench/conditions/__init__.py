"""Conditions under which losses differ: rare classes, few labels and wrong labels."""
