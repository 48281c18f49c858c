"""All SQL of the metrics service, a module a subject. Functions take a connection; those that write expect a transaction."""
