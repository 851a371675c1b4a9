"""The model floor: loading, finding the parts, tracing. The only floor that imports transformers."""
