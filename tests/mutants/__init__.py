"""Faults planted in the rooms that hold money, one at a time, and the tests that notice each."""
