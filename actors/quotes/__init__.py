"""The market-data session of one desk; `QuotesActor` is its one public name."""

from actors.quotes.actor import QuotesActor

__all__ = ["QuotesActor"]
