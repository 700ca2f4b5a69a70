"""The sweep of cuts through a ``@job``: each packet, half of all faults at COMMIT, and second cuts inside the replay.

``python -m campaigns.jobcuts`` runs all of it. The proxy, the servers, the kinds of fault and the crew are those of
``campaigns.cuts``; ``cases`` says what is broken where, ``station`` runs one case, ``oracle`` judges it.
"""
