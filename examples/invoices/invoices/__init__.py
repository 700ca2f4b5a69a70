"""A small company that sends invoices: the project around the app ``billing``."""
