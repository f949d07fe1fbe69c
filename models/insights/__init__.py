"""Answers to questions about the platform's own numbers, in which every number is checked against the row it cites."""
