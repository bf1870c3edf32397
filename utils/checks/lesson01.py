"""Lesson 01: sequence models."""
