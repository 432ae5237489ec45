"""One training from a recipe: what it depends on, its loop, its weights, and what came out in numbers."""
