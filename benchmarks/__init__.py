"""Measurements, each against its rivals in one run on one broker and database: ``./onething bench --help``."""
