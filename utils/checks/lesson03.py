"""Lesson 03: matrices."""
