"""Recipes: an experiment as one typed, strict file."""
