"""What leaves the notebook, and comes back without a model: files of answers."""
