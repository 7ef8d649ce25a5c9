"""Measures tests, and hands each reading to the report of its test."""
