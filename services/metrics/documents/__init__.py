"""Documents that people send and open: an answer in, bytes out. No I/O; the same answer always gives the same bytes."""
