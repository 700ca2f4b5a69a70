"""Campaigns: what a promise is worth under thousands of real faults, by the word of the server.

Each module has a pure part (the plan, the judgement) and a ``run(...) -> Figures``. All are seeded: the same seed makes
the same choices, though not the same interleaving of threads.
"""
