"""The package of `IbkrActor`: its one public class."""

from actors.ibkr.actor import IbkrActor

__all__ = ["IbkrActor"]
