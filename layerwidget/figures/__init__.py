"""Figures: SVG text, PNG and PDF of what a view draws, without a browser."""
