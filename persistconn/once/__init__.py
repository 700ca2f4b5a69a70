"""Exactly once: the parts that ``@persistconn.job`` is made of."""
