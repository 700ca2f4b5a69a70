"""A small Django project on persistconn's engine: two databases, three aliases, a router."""
