"""The broker session of one desk; `IBKRActor` is its one public name."""

from actors.ibkr.actor import IBKRActor

__all__ = ["IBKRActor"]
