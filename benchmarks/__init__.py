"""Timed comparisons, run by hand; nothing here is asserted in tests."""
