"""Use cases of the metrics service, a module a subject."""
