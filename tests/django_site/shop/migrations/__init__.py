"""The tables of the test project."""
