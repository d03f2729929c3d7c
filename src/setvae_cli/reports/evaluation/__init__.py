"""How good predictions are: curves, a page and figures, in one folder."""
