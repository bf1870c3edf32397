"""Lesson 06: seq2seq with attention."""
