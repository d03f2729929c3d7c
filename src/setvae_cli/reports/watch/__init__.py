"""A run as its log tells it, as figures and as a picture for a terminal."""
