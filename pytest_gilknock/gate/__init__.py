"""Compares a run with saved ones, and fails the tests that got worse."""
