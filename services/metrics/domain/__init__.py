"""Pure rules of the metrics service: how cases merge and count, and how figures are ranked, compared and worded."""
