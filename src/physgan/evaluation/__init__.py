"""Measuring restorers on pairs: one line for each image, a summary, tables."""
