"""Other tools, each in an environment and a process of its own; these files run there."""
