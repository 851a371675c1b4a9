"""What leaves the notebook: files of answers, and one page that needs neither a kernel nor a network."""
