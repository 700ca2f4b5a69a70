"""Benchmarks: what safety costs, beside the bare driver and beside the usual cures, in turns and in one run.

Each contestant lives in a process of its own and does a short burst of tasks when it is told to, so that settings of
Django that exclude each other meet the same machine within the same second. Only ratios within a round are meant.
"""
