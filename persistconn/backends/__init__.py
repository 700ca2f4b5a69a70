"""Django's database engines on held connections."""
