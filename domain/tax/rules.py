"""Which contracts fall under section 1256, and what else the law leaves to a choice."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from domain.ranges import Form
from domain.tax.lots import Security
from domain.tax.wash import Identical

TradingClass = Annotated[str, Form(r"[A-Z][A-Z0-9]{0,11}", "a trading class in capitals, such as SPXW")]


@dataclass(frozen=True, slots=True)
class TaxRules:
    """The trading classes of broad-based index options (section 1256), and what counts as substantially identical.

    `index_etfs` are classes of which the treatment is not settled: equity options, unless named in `section_1256`.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    section_1256: tuple[TradingClass, ...]
    index_etfs: tuple[TradingClass, ...]
    identical: Identical

    def is_section_1256(self, security: Security) -> bool:
        """Return whether a security is a section 1256 contract; an index's shares do not exist, so it is an option."""
        return security.right is not None and security.trading_class in self.section_1256
