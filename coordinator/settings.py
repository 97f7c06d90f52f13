"""Settings: what an operator can change, and the one place where it is read.

Owns the list of settings with their defaults and ranges, the order of the sources (TOML files, then ``COORDINATOR_*``
variables, then flags) and the words in which a wrong one is refused. Nothing here starts, connects or logs anything,
and no other module of the coordinator is imported: a part is handed the section it needs.

Secrets are kept out of error messages and of every ``repr``; `Settings.redacted` is the form to show.
"""

import difflib
import functools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike, fspath
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Meta

PREFIX = "COORDINATOR_"
# The test suite hands addresses to its own processes in these; a server started by a test inherits them.
TEST_PREFIX = "COORDINATOR_TEST_"
MIN_SECRET_BYTES = 32
# Never shown as given, whatever is wrong with them.
_PRIVATE = frozenset({"auth.secret", "auth.jwks", "mongo.url", "redis.url", "webrtc.turn_secret"})
_URL_PASSWORD = re.compile(r"(//[^:/?#@]*:).*@")
_URL_OPTION = re.compile(r"(?i)([?&][^=&]*(?:password|secret|token|authmechanismproperties)[^=&]*=)[^&#]*")

# The title of a type says what would be right; it ends the message about a wrong value. The upper bounds on times keep
# them addable to any date and, together with the lower ones, refuse inf and nan.
Host = Annotated[str, Meta(min_length=1, title="a host name or address")]
Port = Annotated[int, Meta(ge=0, le=65535, title="a whole number from 0 to 65535")]
Workers = Annotated[int, Meta(ge=1, le=64, title="a whole number from 1 to 64")]
Origin = Annotated[str, Meta(pattern=r"^(\*|https?://[^/\s]+)\Z")]
Origins = Annotated[tuple[Origin, ...], Meta(title="a list of origins such as `https://example.org`, or of `*`")]
MongoUrl = Annotated[str, Meta(pattern=r"^mongodb(\+srv)?://[^\s]+\Z", title="a mongodb:// or mongodb+srv:// URL")]
DatabaseName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,63}\Z", title="1 to 63 letters, digits, `-` or `_`")]
FolderPath = Annotated[str, Meta(min_length=1, title="the path of a folder")]
RedisUrl = Annotated[str, Meta(pattern=r"^(rediss?|unix)://[^\s]+\Z", title="a redis://, rediss:// or unix:// URL")]
Secret = Annotated[str, Meta(title=f"at least {MIN_SECRET_BYTES} bytes of text")]
# A key set pasted in place of its address would end up in process lists and diagnostics.
KeySetSource = Annotated[str, Meta(pattern=r"^[^\s{\[]", title="the path of a file or an http(s) URL")]
Text = Annotated[str, Meta(min_length=1, title="text")]
Minutes = Annotated[float, Meta(ge=0, le=10_000_000, title="a number of minutes from 0 to 10000000")]
Seconds = Annotated[float, Meta(ge=0, le=10_000_000, title="a number of seconds from 0 to 10000000")]
PositiveSeconds = Annotated[float, Meta(gt=0, le=10_000_000, title="a number of seconds above 0, at most 10000000")]
Flag = Annotated[bool, Meta(title="true or false")]
HostSuffix = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*\Z")]
HostSuffixes = Annotated[tuple[HostSuffix, ...], Meta(title="a list of host names, without scheme or leading dot")]
StunUrl = Annotated[str, Meta(pattern=r"^stuns?:[^\s/]+\Z")]
StunUrls = Annotated[tuple[StunUrl, ...], Meta(title="a list of addresses such as `stun:stun.example.org:3478`")]
TurnUrl = Annotated[str, Meta(pattern=r"^turns?:[^\s/]+\Z")]
TurnUrls = Annotated[tuple[TurnUrl, ...], Meta(title="a list of addresses such as `turn:turn.example.org:3478`")]
TurnSecret = Annotated[str, Meta(min_length=1, title="text")]
Bytes = Annotated[int, Meta(ge=1, le=1_073_741_824, title="a whole number of bytes, from 1 to 1073741824")]
Rate = Annotated[float, Meta(gt=0, le=1_000_000, title="a number per second, above 0, at most 1000000")]
Count = Annotated[int, Meta(ge=1, le=10_000_000, title="a whole number from 1 to 10000000")]
CountOrNone = Annotated[int, Meta(ge=0, le=10_000_000, title="a whole number from 0 to 10000000")]
Days = Annotated[int, Meta(ge=30, le=36_500, title="a whole number of days from 30 to 36500")]
Level = Annotated[Literal["debug", "info", "warning", "error"], Meta(title="`debug`, `info`, `warning` or `error`")]
Format = Annotated[Literal["auto", "console", "json"], Meta(title="`auto`, `console` or `json`")]


def _doc(meaning: str) -> Meta:
    return Meta(description=meaning)


class SettingsError(ValueError):
    """One or more settings are unknown or wrong; the message names each of them.

    Attributes:
        problems: One sentence for each, in the order of the sources.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the sections share: a `repr` that can be logged."""

    def redacted(self) -> dict[str, object]:
        """Return the fields, with passwords and secrets replaced by ``***``."""
        return {name: _redact(name, getattr(self, name)) for name in self.__struct_fields__}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.redacted().items())})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        # rich, and with it a structlog traceback that shows locals, prefers this to __repr__.
        return list(self.redacted().items())


class ServerSettings(_Section, frozen=True, kw_only=True):
    """Where the coordinator listens."""

    host: Annotated[Host, _doc("Address to listen on; `0.0.0.0` for every interface.")] = "127.0.0.1"
    port: Annotated[Port, _doc("Port to listen on; 0 takes any free one.")] = 8080
    cors_origins: Annotated[Origins, _doc("Origins, besides its own, whose pages may connect; `*` for all.")] = ()
    workers: Annotated[Workers, _doc("Processes that share the port; more than one needs `redis.url`.")] = 1


class MongoSettings(_Section, frozen=True, kw_only=True):
    """Where the journal and its projections are kept."""

    url: Annotated[MongoUrl | None, _doc("Replica set to use; unset starts the embedded server.")] = None
    database: Annotated[DatabaseName, _doc("Name of the database.")] = "conversation"
    data_dir: Annotated[FolderPath, _doc("Where the embedded server and the development secret are kept.")] = "data"
    durable: Annotated[Flag, _doc("Embedded server: sync to disk on every commit; false is for tests only.")] = True


class JournalSettings(_Section, frozen=True, kw_only=True):
    """How long what has happened is kept."""

    retention_days: Annotated[Days, _doc("How long the journal of a session, and with it the consents, is kept.")] = 30


class RedisSettings(_Section, frozen=True, kw_only=True):
    """How several coordinators hear of each other's commits."""

    url: Annotated[RedisUrl | None, _doc("Redis that joins several coordinators on one database.")] = None


class AuthSettings(_Section, frozen=True, kw_only=True):
    """Whose tokens are believed."""

    secret: Annotated[Secret | None, _doc("Secret of HS256 tokens.")] = None
    jwks: Annotated[KeySetSource | None, _doc("Key set (JWKS) of RS256, ES256 and EdDSA tokens.")] = None
    issuer: Annotated[Text | None, _doc("Required `iss` of every token; unset accepts any.")] = None
    audience: Annotated[Text | None, _doc("Required `aud` of every token; unset refuses tokens that have one.")] = None
    leeway_seconds: Annotated[Seconds, _doc("Clock difference forgiven when a token's times are checked.")] = 0.0


class SessionSettings(_Section, frozen=True, kw_only=True):
    """When sessions open, start, end, and how long a seat is held."""

    lobby_minutes: Annotated[Minutes, _doc("How long before a slot's start its session opens.")] = 10.0
    no_show_minutes: Annotated[Minutes, _doc("How long after the start a session waits for participants.")] = 10.0
    empty_timeout_seconds: Annotated[Seconds, _doc("How long an active session may be empty before it ends.")] = 60.0
    reconnect_grace_seconds: Annotated[Seconds, _doc("How long a seat is held after its connection is lost.")] = 30.0
    node_timeout_seconds: Annotated[
        PositiveSeconds, _doc("Within how long a dead coordinator is found out, and its participants are let go.")
    ] = 15.0
    require_registration: Annotated[Flag, _doc("Whether only users registered for the slot may join.")] = True


class RecordingSettings(_Section, frozen=True, kw_only=True):
    """Where recordings may be stored."""

    allowed_hosts: Annotated[HostSuffixes, _doc("Hosts, with their subdomains, a recording's URL may name.")] = (
        "r2.cloudflarestorage.com",
    )


class WebrtcSettings(_Section, frozen=True, kw_only=True):
    """How browsers find a way to each other; within one network they need none of it."""

    stun_urls: Annotated[StunUrls, _doc("STUN servers, which tell a browser how it is seen from outside.")] = ()
    turn_urls: Annotated[TurnUrls, _doc("TURN servers, which relay what finds no other way.")] = ()
    turn_secret: Annotated[
        TurnSecret | None, _doc("Secret shared with the TURN servers, for credentials that end (`use-auth-secret`).")
    ] = None
    turn_ttl_seconds: Annotated[PositiveSeconds, _doc("How long such credentials hold.")] = 43_200.0


class LimitsSettings(_Section, frozen=True, kw_only=True):
    """How much one client may ask for."""

    message_bytes: Annotated[Bytes, _doc("Largest message a client may send.")] = 65_536
    signal_bytes: Annotated[Bytes, _doc("Largest `data` of a `signal`.")] = 16_384
    commands_per_second: Annotated[
        Rate, _doc("Commands per connection, sustained; as often it may try again to connect.")
    ] = 20.0
    command_burst: Annotated[Count, _doc("Commands per connection at once.")] = 40
    signals_per_second: Annotated[Rate, _doc("Signals per connection, sustained.")] = 60.0
    signal_burst: Annotated[Count, _doc("Signals per connection at once.")] = 200
    acks_per_second: Annotated[Rate, _doc("Acks of a recorder's connection, sustained.")] = 1000.0
    ack_burst: Annotated[Count, _doc("Acks of a recorder's connection at once.")] = 2000
    send_buffer_bytes: Annotated[Bytes, _doc("What may wait for a client that reads too slowly.")] = 1_048_576
    connections_per_user: Annotated[Count, _doc("Open connections of one user.")] = 8
    handshake_seconds: Annotated[PositiveSeconds, _doc("How long a connection may stay unauthenticated.")] = 5.0
    pending_commands: Annotated[Count, _doc("Commands that may wait to be stored; more are `unavailable`.")] = 10_000
    watched_sessions: Annotated[Count, _doc("Sessions one connection of a moderator may watch.")] = 100
    replay_events: Annotated[CountOrNone, _doc("Missed events replayed one by one; more become a snapshot.")] = 500


class LogSettings(_Section, frozen=True, kw_only=True):
    """What is written to standard error."""

    level: Annotated[Level, _doc("Least severe message that is written.")] = "info"
    format: Annotated[Format, _doc("`console` for people, `json` for machines; `auto` asks if a terminal reads.")] = (
        "auto"
    )


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything an operator can change; the defaults suit a single machine."""

    server: ServerSettings = ServerSettings()
    mongo: MongoSettings = MongoSettings()
    journal: JournalSettings = JournalSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    session: SessionSettings = SessionSettings()
    recording: RecordingSettings = RecordingSettings()
    webrtc: WebrtcSettings = WebrtcSettings()
    limits: LimitsSettings = LimitsSettings()
    log: LogSettings = LogSettings()

    def redacted(self) -> dict[str, dict[str, object]]:
        """Return every section as plain values that may be shown: passwords and secrets are ``***``."""
        return {name: getattr(self, name).redacted() for name in self.__struct_fields__}


class SettingInfo(NamedTuple):
    """One setting, for messages and documentation.

    Attributes:
        section: Name of its section, such as ``session``.
        field: Name inside the section, such as ``lobby_minutes``.
        type: The annotation that a value has to fit.
        default: The value when no source gives one.
        expected: What is right, to stand after "expected".
        meaning: One sentence.
    """

    section: str
    field: str
    type: Any
    default: object
    expected: str
    meaning: str

    @property
    def name(self) -> str:
        """The name in messages and flags: ``session.lobby_minutes``."""
        return f"{self.section}.{self.field}"

    @property
    def variable(self) -> str:
        """The environment variable: ``COORDINATOR_SESSION__LOBBY_MINUTES``."""
        return f"{PREFIX}{self.section}__{self.field}".upper()


@functools.cache
def describe_settings() -> tuple[SettingInfo, ...]:
    """Return every setting, in the order of the sections."""
    return tuple(
        SettingInfo(section, field, hint, getattr(default, field), _note(hint, "title"), _note(hint, "description"))
        for section, default in ((name, getattr(Settings(), name)) for name in Settings.__struct_fields__)
        for field, hint in get_type_hints(type(default), include_extras=True).items()
    )


def load_settings(*, files: Sequence[Path], environ: Mapping[str, str], flags: Mapping[str, object]) -> Settings:
    """Read the settings from all sources; a later source wins over an earlier one.

    Args:
        files: TOML files; each wins over the ones before it. Values are strict: no text where a number belongs.
        environ: The environment. ``COORDINATOR_<SECTION>__<FIELD>`` (any case) is parsed from text; lists are separated
            by commas. ``COORDINATOR_TEST_*`` belongs to the test suite and is passed over.
        flags: Values from the command line under dotted names such as ``server.port``; None means not given.

    Returns:
        The settings. An empty text for a setting that may be unset unsets it, in every source.

    Raises:
        SettingsError: A file cannot be read, or a name or value in any source is wrong, even if a later one would win.
    """
    values: dict[str, dict[str, object]] = {}
    problems: list[str] = []
    for entries in (*map(_from_file, files), _from_environ(environ), _from_flags(flags)):
        for entry in entries:
            outcome = entry if isinstance(entry, str) else _convert(entry)
            if isinstance(outcome, str):
                problems.append(outcome)
            else:
                values.setdefault(outcome.setting.section, {})[outcome.setting.field] = outcome.value
    if problems:
        raise SettingsError(problems)
    return msgspec.convert(values, Settings)


def default_files(package_root: Path | None = None) -> list[Path]:
    """Return the TOML files that are read when none is named.

    Args:
        package_root: The folder that holds the ``coordinator`` package; found from this file unless given.

    Returns:
        In a source tree (a ``pyproject.toml`` beside the package) every ``*.toml`` of its ``config`` folder, sorted by
        name; for an installed package those of ``./config``, if that holds a ``coordinator.toml``.
    """
    root = package_root or Path(__file__).resolve().parent.parent
    in_source_tree = (root / "pyproject.toml").is_file()
    folder = root / "config" if in_source_tree else Path("config")
    if not in_source_tree and not (folder / "coordinator.toml").is_file():
        return []
    return sorted(path for path in folder.glob("*.toml") if path.is_file())


class _Given(NamedTuple):
    """A value as one source gives it, or as it was converted."""

    setting: SettingInfo
    value: object
    source: str
    text: bool = False  # from the environment: numbers, switches and lists have yet to be read from it


def _from_file(path: Path) -> Iterator[_Given | str]:
    try:
        content = path.read_text(encoding="utf-8")
        document = tomllib.loads(content)
    except UnicodeDecodeError:
        yield f"{path}: not UTF-8; TOML files have to be"
        return
    except ValueError as error:
        # The end of a document has no line in the message.
        line = re.search(r"line (\d+)", str(error))
        yield f"{path}, line {line[1] if line else len(content.splitlines()) or 1}: not TOML: {error}"
        return
    except OSError as error:
        yield f"{path}: cannot be read: {error.strerror}"
        return
    sections = Settings.__struct_fields__
    for key, table in document.items():
        if key not in sections:
            yield _unknown(key, str(path), {section: f"[{section}]" for section in sections} | _dotted_names())
        elif not isinstance(table, dict):
            yield f"{key} (from {path}): is a section; expected a table [{key}]"
        else:
            yield from _by_name({f"{key}.{field}": value for field, value in table.items()}, str(path))


def _from_environ(environ: Mapping[str, str]) -> Iterator[_Given | str]:
    known = {setting.variable: setting for setting in describe_settings()}
    for variable in sorted(environ):
        name = variable.upper()
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        if name in known:
            yield _Given(known[name], environ[variable], f"variable {variable}", text=True)
        else:
            yield _unknown(variable, "the environment", {v.removeprefix(PREFIX).lower(): v for v in known})


def _from_flags(flags: Mapping[str, object]) -> Iterator[_Given | str]:
    given = {name: fspath(v) if isinstance(v, PathLike) else v for name, v in flags.items() if v is not None}
    return _by_name(given, "the command line")


def _by_name(values: Mapping[str, object], source: str) -> Iterator[_Given | str]:
    known = {setting.name: setting for setting in describe_settings()}
    for name, value in values.items():
        yield _Given(known[name], value, source) if name in known else _unknown(name, source, _dotted_names())


def _dotted_names() -> dict[str, str]:
    """What people write for a setting -> its name: both ``lobby_minutes`` and ``session.lobby_minutes``."""
    return {written: s.name for s in describe_settings() for written in (s.field, s.name)}


def _unknown(name: str, source: str, known: Mapping[str, str]) -> str:
    """Say that there is no such setting; ``known`` maps what might have been meant, in lower case, to its name."""
    # The prefix that all variables share would make any two of them look alike.
    near = difflib.get_close_matches(name.lower().removeprefix(PREFIX.lower()), known, n=1)
    hint = f"did you mean {known[near[0]]}?" if near else "config/README.md lists them all"
    return f"{name} (from {source}): no such setting; {hint}"


def _convert(given: _Given) -> _Given | str:
    """Return the entry with its value in the setting's type, or the problem as a sentence."""
    setting, value, source, text = given
    kind = setting.type.__origin__
    if value == "" and type(None) in get_args(kind):
        return given._replace(value=None)
    try:
        if text and isinstance(value, str):
            value = _parse(kind, value)
        if isinstance(value, str):
            _check_text(setting, value)
        value = msgspec.convert(value, setting.type)
    except (msgspec.ValidationError, ValueError):
        # The library's own message may quote the value, so it is not passed on.
        shown = "the value (not shown) does not fit" if setting.name in _PRIVATE else f"got {_shown(given.value)}"
        form = ", separated by commas" if text and get_origin(kind) is tuple else ""
        return f"{setting.name} (from {source}): {shown}; expected {setting.expected}{form}"
    return given._replace(value=value)


def _parse(kind: Any, text: str) -> object:
    """Read a value of the annotation ``kind``, unwrapped, from text."""
    if kind in (bool, int, float):
        return msgspec.convert(text.strip(), kind, strict=False)
    if get_origin(kind) is tuple:
        return [item for part in text.split(",") if (item := part.strip())]
    return text.strip().lower() if get_origin(kind) is Literal else text


def _check_text(setting: SettingInfo, value: str) -> None:
    # A variable that is not UTF-8 reaches Python as lone surrogates, which cannot be encoded again later.
    if len(value.encode("utf-8")) < MIN_SECRET_BYTES and setting.name == "auth.secret":
        raise ValueError(setting.name)


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a table"
    shown = repr(list(value) if isinstance(value, tuple) else value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def _redact(field: str, value: object) -> object:
    if isinstance(value, str) and field in {"secret", "turn_secret"}:
        return "***"
    if isinstance(value, str) and field in {"url", "jwks"}:
        return _URL_OPTION.sub(r"\1***", _URL_PASSWORD.sub(r"\1***@", value))
    return list(value) if isinstance(value, tuple) else value


def _note(hint: Any, attribute: str) -> str:
    """Return the title or description of an annotation, looking outside in."""
    for meta in reversed(getattr(hint, "__metadata__", ())):
        if found := getattr(meta, attribute, None):
            return str(found)
    for inner in get_args(hint):
        if found := _note(inner, attribute):
            return found
    return ""
