"""Intake's edge over HTTP: pushing, and what became of what was pushed."""
