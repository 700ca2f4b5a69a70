"""The sweep of cuts: one conversation, broken at each of its packets in each way, and judged by the rows on the server.

``python -m campaigns.cuts`` runs all of it. ``cases`` says what is broken where, ``conversation`` is what the client says,
``station`` runs one case, ``oracle`` judges it, ``crew`` runs many at once, ``figures`` counts.
"""
