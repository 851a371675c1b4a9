"""Work: one thread per model, newest edit wins."""
