"""The package of `RiskActor`: its one public class."""

from actors.risk.actor import RiskActor

__all__ = ["RiskActor"]
