"""Tests mirror the rooms. A package of its own, because a dependency (eventkit) installs one of this name."""
