"""The model zoo: layers, definitions with training recipes, data, training and the committed checkpoints."""
