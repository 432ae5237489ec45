"""Studies: many trainings into one CSV, planned in a TOML file, and the table and figures of what they found."""
