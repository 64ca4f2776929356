"""Whose money a desk trades with."""

from __future__ import annotations

from enum import StrEnum


class DeskKind(StrEnum):
    """Three kinds, each with a ledger of its own; reports keep them apart, and tax takes live money alone."""

    LIVE = "live"
    PAPER = "paper"  # the broker's paper account
    SIM = "sim"  # a simulated broker: the demo
