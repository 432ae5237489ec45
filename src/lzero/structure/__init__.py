"""What a unit is in a given model: found, proved, gated and cut out."""
