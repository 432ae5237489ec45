"""The folder of a purged model: what it says of itself, and whether that is so."""
