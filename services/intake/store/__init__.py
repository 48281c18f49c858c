"""All SQL of the intake service. Functions take a connection; transactions are the caller's."""
