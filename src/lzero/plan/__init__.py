"""What can be gated in a model, as data: groups of gates, refusals, and the page that says so."""
