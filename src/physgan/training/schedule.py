"""The learning rate over a run: constant, then linear to zero (section 5.2 of the paper)."""

from __future__ import annotations


def learning_rate_factor(step: int, *, constant: int, decay: int) -> float:
    """What the learning rate is multiplied by at a step, counted from 0.

    1 for the first `constant` steps and at step `constant` itself, then linearly down; it would be
    0 at step `constant + decay`, which is the first step that is not taken.
    """
    if step <= constant:
        return 1.0
    return max(0.0, 1 - (step - constant) / decay) if decay else 0.0
