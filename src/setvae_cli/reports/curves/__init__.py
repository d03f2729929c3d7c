"""Curves of runs: read, judged, drawn and written."""
