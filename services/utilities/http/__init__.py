"""What companies reach: the push edge, sheets, the page."""
