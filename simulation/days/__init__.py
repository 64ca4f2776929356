"""Thousands of faulty days: a day tape, event-driven ports, faults by seed, and what must hold after each step."""
