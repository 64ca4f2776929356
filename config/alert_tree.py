"""The part of the settings that is about alert kinds: files of one's own, and the thresholds of every kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import (
    ConfigDict,
    SerializerFunctionWrapHandler,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
)
from pydantic_settings import BaseSettings, SettingsConfigDict
from typing_extensions import TypedDict  # pydantic takes no other before Python 3.12

from config.alert_files import own_kinds, rules_of, trials_of
from domain.ranges import Checked
from domain.signals.alerts import EVALUATORS
from domain.signals.evaluator import AlertRules, Evaluator
from domain.signals.kit import Kind

if TYPE_CHECKING:
    AlertRulesByKind = dict[str, AlertRules]
    AlertTrialsByKind = dict[str, tuple[AlertRules, ...]]
else:  # each kind with the rules that its evaluator declares
    AlertRulesByKind = TypedDict("AlertRulesByKind", {kind: made.rules_type for kind, made in EVALUATORS.items()})
    AlertRulesByKind.__pydantic_config__ = ConfigDict(extra="forbid")
    AlertTrialsByKind = TypedDict(
        "AlertTrialsByKind", {kind: tuple[made.rules_type, ...] for kind, made in EVALUATORS.items()}, total=False
    )
    AlertTrialsByKind.__pydantic_config__ = ConfigDict(extra="forbid")


class AlertTree(BaseSettings):
    """What can be set about alert kinds; the sources that look for them stand in the whole tree."""

    model_config = SettingsConfigDict(defer_build=True)  # of a tree and those it is part of, a program uses one
    alert_files: tuple[Annotated[Path, Checked("it is read when the settings are loaded")], ...]
    alert_rules: AlertRulesByKind
    alert_trials: AlertTrialsByKind

    @property
    def own_kinds(self) -> dict[str, Kind]:
        """The alert kinds of the user's own files."""
        return own_kinds(self.alert_files, EVALUATORS)

    @property
    def kinds(self) -> dict[str, type[Evaluator[Any, Any]]]:
        """All alert kinds there are, with their evaluators."""
        return {**EVALUATORS, **{name: kind.evaluator for name, kind in self.own_kinds.items()}}

    @field_validator("alert_files")
    @classmethod
    def _read_files(cls, files: tuple[Path, ...]) -> tuple[Path, ...]:
        files = tuple(file.resolve() for file in files)
        own_kinds(files, EVALUATORS)
        return files

    @field_validator("alert_rules", mode="wrap")
    @classmethod
    def _with_own(cls, given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Let the files' kinds have their thresholds among those of the others."""
        own = own_kinds(info.data.get("alert_files", ()), EVALUATORS)
        if not own or not isinstance(given, Mapping):
            return handler(given)
        found = handler({kind: rules for kind, rules in given.items() if kind not in own})
        return found | {name: rules_of(kind, given.get(name, {})) for name, kind in own.items()}

    @field_validator("alert_trials", mode="wrap")
    @classmethod
    def _with_trials_of_own(cls, given: Any, handler: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        """Let the files' kinds be tried in other versions like those of the others."""
        own = own_kinds(info.data.get("alert_files", ()), EVALUATORS)
        if not own or not isinstance(given, Mapping):
            return handler(given)
        found = handler({kind: tried for kind, tried in given.items() if kind not in own})
        return found | {name: trials_of(own[name], tried) for name, tried in given.items() if name in own}

    @field_serializer("alert_rules", mode="wrap")
    def _told_with_own(self, rules: dict[str, AlertRules], handler: SerializerFunctionWrapHandler) -> Any:
        own = self.own_kinds
        told = handler({kind: of_kind for kind, of_kind in rules.items() if kind not in own})
        return told | {kind: asdict(rules[kind]) for kind in own}

    @field_serializer("alert_trials", mode="wrap")
    def _told_with_trials_of_own(
        self, trials: dict[str, tuple[AlertRules, ...]], handler: SerializerFunctionWrapHandler
    ) -> Any:
        own = self.own_kinds
        told = handler({kind: tried for kind, tried in trials.items() if kind not in own})
        return told | {kind: [asdict(one) for one in tried] for kind, tried in trials.items() if kind in own}
