"""Comparisons drawn and printed: tables, conclusion, page and pictures. Computes nothing."""
