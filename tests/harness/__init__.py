"""Runs the real binary for the end-to-end and chaos tests."""
