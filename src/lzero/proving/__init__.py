"""That purging is exact: random weights, uneven closures, gated against purged."""
