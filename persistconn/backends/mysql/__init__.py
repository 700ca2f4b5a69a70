"""``ENGINE = "persistconn.backends.mysql"``: Django's MySQL engine on held connections."""
