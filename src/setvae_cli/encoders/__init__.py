"""Encoders: one vector a subject, from models of setvae and of others, behind one door."""
