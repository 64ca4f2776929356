"""The settings tree: defaults from `defaults.yaml`, then a profile, then the user's file, then the environment.

Environment names are `ZEROHOUR_` plus the path with `__` between levels (`ZEROHOUR_BROKER__GATEWAYS`). Secrets come
from the environment alone and never enter this tree: it holds the names of the variables that carry them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Self

import orjson
import yaml
from pydantic import ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from config import alert_files, aliases
from config.checks import Found, together, wrong_leaves, wrong_switches
from config.layers import merged
from config.tree import PREFIX, SettingsTree

HERE = Path(__file__).parent


class SettingsError(Exception):
    """The settings cannot be used; the text is one sentence with the remedy.

    `findings` holds what is wrong with which setting, by its path (`demo.rate`), where that is known.
    """

    def __init__(self, text: str, findings: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.findings = dict(findings or {})


class Settings(SettingsTree):
    """Everything that can be set, checked."""

    @model_validator(mode="before")
    @classmethod
    def _prepare(cls, layers: Any) -> Any:
        """Let a name from the environment, which comes in lower case, meet the one of the files (`spx`, `SPX`)."""
        folded = _case_folded(layers)
        _refuse(wrong_switches(cls, folded))
        exits = folded.get("exits")
        if isinstance(exits, dict) and exits.get("disaster_stop", True) is None:
            folded["exits"] = exits | {"disaster_stop": folded.get("trading_mode") == "live"}
        return _with_lanes_cut(folded)

    @model_validator(mode="after")
    def _check(self) -> Settings:
        """Refuse what is out of its range, what contradicts something else, and names of nothing."""
        _refuse(wrong_leaves(self))
        _refuse(together(self))
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the files (which come in as init values)."""
        return env_settings, init_settings

    def digest(self) -> str:
        """Hash the whole tree (blake2b, hexadecimal), for the trace's header."""
        return hashlib.blake2b(self.to_json(), digest_size=12).hexdigest()

    def to_json(self) -> bytes:
        """Write the tree as JSON in its own order (the tree of actors follows it)."""
        return orjson.dumps(self.model_dump(mode="json"))


class _RefusedError(ValueError):
    """Settings that do not fit; pydantic carries it to `_refusal`."""

    def __init__(self, found: tuple[Found, ...]) -> None:
        super().__init__("; ".join(str(finding) for finding in found))
        self.found = found


def _refuse(found: tuple[Found, ...]) -> None:
    if found:
        raise _RefusedError(found)


def load_settings(
    path: Path | None = None, profile: str | None = None, overrides: Mapping[str, Any] | None = None
) -> Settings:
    """Load the settings: defaults, `profiles/<profile>.yaml`, the user's file, overrides, the environment.

    Raises:
        SettingsError: unknown setting, wrong type or unreadable file, as one sentence with the remedy.
    """
    layers = _read_yaml(HERE / "defaults.yaml")
    user = _with_files(_read_yaml(path), path) if path is not None else {}
    _refuse_unknown_environment(layers)
    chosen = profile or _environment().get("ZEROHOUR_PROFILE") or user.get("profile") or layers["profile"]
    profile_file = HERE / "profiles" / f"{chosen}.yaml"
    if not profile_file.exists():
        known = ", ".join(sorted(p.stem for p in profile_file.parent.glob("*.yaml")))
        raise SettingsError(f"There is no profile {chosen!r}; choose one of: {known}.")
    layers = merged(merged(layers, _read_yaml(profile_file)), _by_names_of_before(user, path, layers))
    if chosen == "real":
        layers = merged(layers, _environment_of_before(layers))
    layers = merged(layers, dict(overrides or {}))
    layers["profile"] = chosen
    layers["alert_trials"] = _trials(layers)
    if chosen == "real":
        _refuse_rate(user, path)
    if isinstance(layers["data_dir"], str | Path):
        layers["data_dir"] = HERE.parent / layers["data_dir"]  # wherever the command is called from
    try:
        settings = Settings(**layers)
    except ValidationError as error:
        raise _refusal(error, path, overrides or {}) from None
    if settings.profile != chosen:
        raise SettingsError(
            f"The call asks for profile {chosen}, ZEROHOUR_PROFILE in the environment for {settings.profile};"
            " take one of them away."
        )
    return settings


def _with_lanes_cut(tree: dict[str, Any]) -> dict[str, Any]:
    """Return a tree in which lanes that stand as in the defaults watch only what `tickers` names."""
    lanes, tickers = tree.get("lanes"), tree.get("tickers")
    if not isinstance(lanes, dict) or not isinstance(tickers, list | tuple):
        return tree
    as_shipped = _read_yaml(HERE / "defaults.yaml")["lanes"]
    cut = {
        source: [ticker for ticker in watched if ticker in tickers] if watched == as_shipped.get(source) else watched
        for source, watched in lanes.items()
    }
    return tree | {"lanes": cut}


def _with_files(user: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return a user's settings with the whole paths of the alert files that they name."""
    names = user.get("alert_files")
    if not isinstance(names, list):
        return user
    try:
        return user | {"alert_files": alert_files.found_files(names, path.resolve().parent)}
    except alert_files.AlertFileError as error:
        raise SettingsError(f"In {path}: {error}") from None


def _trials(layers: Mapping[str, Any]) -> Any:
    """Return the trials with what they leave out filled in from the kind's rules; what is no trial is left as it is."""
    trials, rules = layers["alert_trials"], layers["alert_rules"]
    if not isinstance(trials, Mapping) or not isinstance(rules, Mapping):
        return trials
    return {
        kind: [merged(rules[kind], one) if isinstance(one, Mapping) else one for one in tried]
        if isinstance(tried, list | tuple) and isinstance(rules.get(kind), Mapping)
        else tried
        for kind, tried in trials.items()
    }  # fmt: skip


def _by_names_of_before(user: Mapping[str, Any], path: Path | None, layers: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return aliases.of_file(user, tuple(layers["strategies"]))
    except aliases.AliasError as error:
        raise SettingsError(f"In {path}: {error}") from None


def _environment_of_before(layers: Mapping[str, Any]) -> dict[str, Any]:
    mode = _environment().get(f"{PREFIX}TRADING_MODE", layers["trading_mode"])
    try:
        return aliases.of_environment(os.environ, layers, mode)
    except aliases.AliasError as error:
        raise SettingsError(f"In the environment: {error}") from None


def _environment() -> dict[str, str]:
    """Return the settings of the environment; their names count in any case, as the library takes them."""
    return {name.upper(): value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}


def _refuse_unknown_environment(layers: Mapping[str, Any]) -> None:
    """Refuse a path of no section; the library refuses unknown names below a section alone."""
    for name in _environment():
        section, deeper, _ = name.removeprefix(PREFIX).partition("__")
        if deeper and section.lower() not in layers:
            raise SettingsError(f"{name} in the environment is no setting: there is no section {section.lower()}.")


def _refuse_rate(user: Mapping[str, Any], path: Path | None) -> None:
    """Refuse a rate that a person gives with the real profile: the real market has one."""
    demo = user.get("demo")
    where = path if "rate" in user or (isinstance(demo, Mapping) and "rate" in demo) else None
    name = next((name for name in _environment() if name in ("ZEROHOUR_RATE", "ZEROHOUR_DEMO__RATE")), None)
    if where is not None or name is not None:
        raise SettingsError(
            f"In {where or name}: profile real runs at the real market's pace; take the rate out, or run profile demo."
        )


def from_json(raw: bytes, *, is_judged: bool = True) -> Settings:
    """Read back what `Settings.to_json` wrote (the environment is not looked at).

    Args:
        raw: the tree.
        is_judged: ranges and contradictions are refused as anywhere. `False` for what a run that is over was made
            with: a simulated day may have had what nobody may trade with, an older version other ranges.

    Raises:
        SettingsError: not a settings tree of this version.
    """
    try:
        return (_Recorded if is_judged else _Over)(**orjson.loads(raw))
    except ValidationError as error:
        raise SettingsError(f"This version cannot take the recorded settings. {_refusal(error, None)}") from None
    except (orjson.JSONDecodeError, TypeError) as error:
        raise SettingsError(f"The recorded settings are no tree of settings: {error}.") from None


def overlaid(recorded: bytes, path: Path) -> Settings:
    """Lay a user's file over a recorded tree.

    Raises:
        SettingsError: unknown setting, wrong type or unreadable file, as one sentence with the remedy.
    """
    try:
        return _Recorded(**merged(orjson.loads(recorded), _read_yaml(path)))
    except ValidationError as error:
        raise _refusal(error, path) from None


class _Recorded(Settings):
    """Settings read back from a run: the environment of today says nothing about them."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what was recorded alone."""
        return (init_settings,)


class _Over(_Recorded):
    """Settings of a run that is over: they were in force, whatever would be allowed today."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        return self


class _DuplicateError(Exception):
    """A name that a mapping holds twice, with the lines."""


@lru_cache(maxsize=16)
def _parsed(text: str) -> Any:
    """Read YAML in which a name stands once a section: of two the library would silently take the later.

    Whoever takes the result must not change it.
    """
    if yaml.__with_libyaml__:
        with suppress(yaml.YAMLError):  # what is wrong with it is told in the words of the other parser
            return _loaded(yaml.CSafeLoader(text))
    return _loaded(yaml.SafeLoader(text))


def _loaded(loader: yaml.CSafeLoader | yaml.SafeLoader) -> Any:
    try:
        node = loader.get_single_node()
        if node is None:
            return {}
        _refuse_twice(node, set())
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _refuse_twice(node: yaml.Node, seen: set[int]) -> None:
    if id(node) in seen:  # an alias
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _refuse_twice(item, seen)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                name, line = str(key.value), key.start_mark.line + 1
                if name.lower() in lines:
                    raise _DuplicateError(name, lines[name.lower()], line)
                lines[name.lower()] = line
            _refuse_twice(value, seen)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = _parsed(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise SettingsError(f"Cannot read {path}: {error.strerror}; give a readable settings file.") from None
    except UnicodeError:
        raise SettingsError(f"{path} is not UTF-8 text; save it as such.") from None
    except _DuplicateError as error:
        name, first, again = error.args
        text = f"{path} sets {name} twice, in lines {first} and {again}; leave one of them."
        raise SettingsError(text, {name: "set twice"}) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is not YAML{_where(error)}; mend the file.") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold settings as `name: value`; it holds {type(content).__name__}.")
    return content


def _where(error: yaml.YAMLError) -> str:
    """Return where a file stops being YAML and why, as ` in line 3, column 7: ...`, in one line."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return f" ({' '.join(str(error).split())})"
    mark = error.problem_mark
    return f" in line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}"


def _case_folded(value: Any) -> Any:
    """Return a tree in which a lower-case key lies over the sibling that differs from it by case alone."""
    if not isinstance(value, dict):
        return value
    names = {key.lower(): key for key in value if isinstance(key, str) and key != key.lower()}
    out = {key: _case_folded(item) for key, item in value.items() if key not in names}
    for key, name in names.items():
        if key in value:
            out = merged(out, {name: _case_folded(value[key])})
    return out


_GUIDE = "docs/guides/add-an-alert.md"
# What a setting of an older version is called now.
_RENAMED = {
    "flip": "alert_rules.GAMMA_FLIP",
    "breaks": "alert_rules.STRUCTURE_BREAK",
    "indices": "spot_only",
    "rate": "demo.rate",
    "day.bucket_grace_min_ms": "day.bucket_grace_ms",
    "day.hard_stop_ms": "day.verify_flat_again_ms",
    "entry.narrow_market_ticks": "entry.narrow_market_increments",
    "entry.drift_min_ticks": "entry.drift_min_increments",
    "exits.min_tick_ticks": "exits.price_min_ticks",
}


def _refusal(error: ValidationError, path: Path | None, call: Mapping[str, Any] | None = None) -> SettingsError:
    """Return what is refused of settings, and where it stands: in a user's file, the environment or the call itself."""
    parts: list[str] = []
    places: dict[str, None] = {}
    findings: dict[str, str] = {}
    for item in error.errors()[:5]:
        refused = item.get("ctx", {}).get("error")
        if isinstance(refused, alert_files.AlertFileError):
            parts.append(str(refused).rstrip("."))
            continue
        if isinstance(refused, _RefusedError):
            parts += [str(found) for found in refused.found[:5]]
            places |= {_place(found.path.split("."), path, call): None for found in refused.found[:5]}
            findings |= {found.path: found.what for found in refused.found}
            continue
        name = ".".join(str(part) for part in item["loc"])
        what = item["msg"].removeprefix("Value error, ")
        places[_place([str(part) for part in item["loc"]], path, call)] = None
        if not name:
            parts.append(what)
        elif item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
            parts.append(f"{name} is not a setting{_remedy(name)}")
        else:
            given = item.get("input")
            if not isinstance(given, dict):  # of a section that lacks something the values say nothing
                what += f" (given: {str(given)[:40]!r})"
            findings[name] = what = what[0].lower() + what[1:]
            parts.append(f"{name}: {what}")
    where = " and ".join(places or (_place((), path, call),))
    text = f"In {where}: {'; '.join(parts)}. See config/defaults.yaml for every setting and its unit."
    return SettingsError(text, findings)


def _place(name: Sequence[str], path: Path | None, call: Mapping[str, Any] | None) -> str:
    """Return where a setting was said: in the environment, in the call, or else in the file of the call.

    `call` is what the call itself says; `None`: what was recorded of a run, which knows neither.
    """
    if call is not None and name:
        environment = _environment()
        if any(PREFIX + "__".join(name[: n + 1]).upper() in environment for n in range(len(name))):
            return "the environment"
        if _says(call, name):
            return "the call"
    return str(path) if path is not None else "the settings or the environment"


def _says(tree: object, name: Sequence[str]) -> bool:
    if not name or not isinstance(tree, Mapping):
        return True
    return name[0] in tree and _says(tree[name[0]], name[1:])


def _remedy(unknown: str) -> str:
    if unknown in _RENAMED:
        return f" (it is {_RENAMED[unknown]} now)"
    section, _, kind = unknown.partition(".")
    if section == "alert_rules" and "." not in kind:
        return f": no evaluator is known as {kind}; a kind of your own is a file that alert_files names ({_GUIDE})"
    *above, last = unknown.split(".")
    known: Any = _read_yaml(HERE / "defaults.yaml")
    for part in above:
        known = known.get(part) if isinstance(known, dict) else None
    near = get_close_matches(last, known, 1) if isinstance(known, dict) else []
    return f" (did you mean {'.'.join((*above, near[0]))}?)" if near else ""
