"""Comparisons with other tools; each needs an extra of its own, so none is part of the test command."""
