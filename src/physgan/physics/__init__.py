"""The physics of degradation: each file holds the operator and the sampler of one phenomenon.

Operators are functions first (`blur`, `haze`) with a thin class that keeps their arguments. They
take and give images N×C×H×W in [0, 1] and know nothing of networks, losses or files.
"""
