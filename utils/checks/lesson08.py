"""Lesson 08: translation."""
