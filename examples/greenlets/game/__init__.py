"""A game that costs a coin for each move."""
