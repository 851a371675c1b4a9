"""Views: they say which question they need and draw its answer. They never compute."""
