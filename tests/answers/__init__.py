"""Right answers to the exercises, each written in several ways: every check must accept them all."""
