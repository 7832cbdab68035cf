"""How weights change: recipes, steps, runs and what is measured on them."""
