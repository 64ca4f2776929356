"""Days of the past on the same actors: fed from what was recorded or imported, filled by the in-process exchange."""
