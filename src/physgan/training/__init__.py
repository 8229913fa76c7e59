"""Training: one step, one loop, and everything that a run must remember."""
