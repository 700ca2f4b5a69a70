"""The sweep of cuts on what people use today, side by side: ``python -m campaigns.peers``.

The same statements, faults and judge as :mod:`campaigns.cuts`, over PyMySQL without TLS, from the first statement of a
unit of work to the answer to its COMMIT. Every client is polite: it stops at the first error and rolls back.
``requirements.txt`` beside this file says what must be installed.
"""
