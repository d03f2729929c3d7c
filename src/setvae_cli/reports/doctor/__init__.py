"""Findings of `setvae doctor`."""
