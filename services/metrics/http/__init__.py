"""Routes of the metrics api, a module a subject; ``access`` has what all of them ask for."""
