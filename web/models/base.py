"""The base of what is answered."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Base of what is answered."""

    model_config = ConfigDict(frozen=True)
