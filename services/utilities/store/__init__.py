"""All SQL of the utilities service. Functions take a connection; transactions are the caller's."""
