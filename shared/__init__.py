"""What two or more services use: wire models, the roster, the catalogue, signing, and the edges to Kafka and PostgreSQL."""

__version__ = "0.1.0"
"""The release, as `pyproject.toml` has it."""
