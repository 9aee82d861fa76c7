"""Judges of answers: what they are asked, whom, and what their replies come to."""
