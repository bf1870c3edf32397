"""Lesson 05: positions."""
