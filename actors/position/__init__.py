"""The package of `PositionActor`: its one public class."""

from actors.position.actor import PositionActor

__all__ = ["PositionActor"]
