"""Every language-model configuration of the installed transformers, built small and random, and checked."""
