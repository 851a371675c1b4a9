"""Benchmarks: `python -m tests.bench` measures layerwidget beside plain transformers and other tools."""
