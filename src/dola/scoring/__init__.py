"""Texts that exist already: what each token scores, and why."""
