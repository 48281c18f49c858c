"""Use cases of the utilities service."""
