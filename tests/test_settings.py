"""The settings: where they come from, what is refused and in which words, and what the documentation says."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec
import pytest
from rich.pretty import pretty_repr

from coordinator.settings import SettingInfo, Settings, SettingsError, default_files, describe_settings, load_settings

ROOT = Path(__file__).resolve().parent.parent
SECRET = "correct horse battery staple 0123456789"


def load(*files: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None) -> Settings:
    return load_settings(files=files, environ=environ or {}, flags=flags or {})


def refusal(*files: Path, environ: Mapping[str, str] | None = None, flags: Mapping[str, object] | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        load(*files, environ=environ, flags=flags)
    return str(caught.value)


def toml(folder: Path, content: str, name: str = "some.toml") -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


class TestSources:
    def test_nothing_given_is_the_defaults(self) -> None:
        assert load() == Settings()

    def test_a_later_file_wins_and_leaves_the_rest(self, tmp_path: Path) -> None:
        first = toml(tmp_path, '[server]\nport = 1\nhost = "::1"\n', "a.toml")
        second = toml(tmp_path, "[server]\nport = 2\n", "b.toml")
        server = load(first, second).server
        assert (server.port, server.host) == (2, "::1")

    def test_a_variable_wins_over_files_and_a_flag_over_both(self, tmp_path: Path) -> None:
        file = toml(tmp_path, "[server]\nport = 1\n[log]\nlevel = 'error'\n")
        environ = {"COORDINATOR_SERVER__PORT": "2", "COORDINATOR_LOG__LEVEL": "debug"}
        assert load(file, environ=environ).server.port == 2
        settings = load(file, environ=environ, flags={"server.port": 3})
        assert settings.server.port == 3
        assert settings.log.level == "debug"

    def test_a_flag_that_was_not_given_changes_nothing(self) -> None:
        environ = {"COORDINATOR_SERVER__PORT": "2"}
        assert load(environ=environ, flags={"server.port": None}).server.port == 2

    def test_a_wrong_value_is_refused_even_if_a_later_source_would_win(self, tmp_path: Path) -> None:
        file = toml(tmp_path, "[server]\nport = -1\n")
        assert "server.port" in refusal(file, flags={"server.port": 3})

    def test_variables_are_read_in_any_case_and_others_are_passed_over(self) -> None:
        environ = {"coordinator_Server__port": "7", "PATH": "/bin", "MY_COORDINATOR_X": "1", "COORDINATOR": "x"}
        assert load(environ=environ).server.port == 7

    def test_variables_of_the_test_suite_are_passed_over(self) -> None:
        assert load(environ={"COORDINATOR_TEST_MONGO_URL": "mongodb://localhost"}) == Settings()

    @pytest.mark.parametrize("name", ["mongo.url", "redis.url", "auth.secret", "auth.jwks", "auth.issuer"])
    def test_an_empty_text_unsets_what_may_be_unset(self, name: str, tmp_path: Path) -> None:
        section, field = name.split(".")
        good = {"mongo.url": "mongodb://h", "redis.url": "redis://h"}.get(name, SECRET)
        file = toml(tmp_path, f"[{section}]\n{field} = '{good}'\n")
        assert getattr(getattr(load(file), section), field) == good
        unset = load(file, environ={f"COORDINATOR_{section}__{field}": ""})
        assert getattr(getattr(unset, section), field) is None
        assert load(file, flags={name: ""}) == unset

    def test_a_path_is_taken_from_a_flag(self) -> None:
        assert load(flags={"mongo.data_dir": Path("some") / "where"}).mongo.data_dir == str(Path("some") / "where")


class TestValues:
    @pytest.mark.parametrize(("text", "value"), [("2.5", 2.5), ("0", 0.0), ("1e-3", 0.001), (" 30 ", 30.0)])
    def test_times_may_be_fractions(self, text: str, value: float, tmp_path: Path) -> None:
        environ = {"COORDINATOR_SESSION__RECONNECT_GRACE_SECONDS": text}
        assert load(environ=environ).session.reconnect_grace_seconds == value
        file = toml(tmp_path, f"[session]\nlobby_minutes = {text}\n")
        assert load(file).session.lobby_minutes == value

    def test_a_whole_number_for_a_fraction_becomes_a_float(self, tmp_path: Path) -> None:
        minutes = load(toml(tmp_path, "[session]\nlobby_minutes = 3\n")).session.lobby_minutes
        assert isinstance(minutes, float)

    @pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("1", True), ("0", False)])
    def test_switches(self, text: str, value: bool) -> None:
        assert load(environ={"COORDINATOR_MONGO__DURABLE": text}).mongo.durable is value

    @pytest.mark.parametrize(
        ("text", "value"),
        [("a.example", ("a.example",)), (" a.example , b.example,", ("a.example", "b.example")), ("", ())],
    )
    def test_lists(self, text: str, value: tuple[str, ...], tmp_path: Path) -> None:
        assert load(environ={"COORDINATOR_RECORDING__ALLOWED_HOSTS": text}).recording.allowed_hosts == value
        file = toml(tmp_path, f"[recording]\nallowed_hosts = {json.dumps(value)}\n")
        assert load(file).recording.allowed_hosts == value
        assert load(flags={"recording.allowed_hosts": value}).recording.allowed_hosts == value

    def test_every_origin_may_be_allowed(self) -> None:
        environ = {"COORDINATOR_SERVER__CORS_ORIGINS": "*,http://localhost:5173"}
        assert load(environ=environ).server.cors_origins == ("*", "http://localhost:5173")

    @pytest.mark.parametrize("port", [0, 65535])
    def test_the_ends_of_a_range_are_right(self, port: int) -> None:
        assert load(flags={"server.port": port}).server.port == port

    def test_a_choice_in_a_variable_may_be_in_any_case(self) -> None:
        assert load(environ={"COORDINATOR_LOG__LEVEL": "WARNING"}).log.level == "warning"

    def test_a_secret_is_counted_in_bytes(self) -> None:
        assert load(environ={"COORDINATOR_AUTH__SECRET": "é" * 16}).auth.secret == "é" * 16

    def test_a_text_that_looks_like_another_kind_stays_text(self) -> None:
        assert load(environ={"COORDINATOR_AUTH__ISSUER": "null"}).auth.issuer == "null"


WRONG_IN_A_FILE = [
    ("server.port", '"8080"', "65535"),
    ("server.port", "-1", "65535"),
    ("server.port", "65536", "65535"),
    ("server.port", "8080.0", "whole number"),
    ("server.port", "true", "whole number"),
    ("server.port", "[8080]", "whole number"),
    ("server.port", "{ number = 8080 }", "whole number"),
    ("server.port", "9" * 400, "65535"),
    ("server.host", "127", "host name"),
    ("server.host", '""', "host name"),
    ("server.host", "2030-01-01", "host name"),
    ("server.workers", "0", "from 1 to 64"),
    ("server.workers", "65", "from 1 to 64"),
    ("server.workers", "1.5", "whole number"),
    ("server.cors_origins", '"https://a.example"', "a list of origins"),
    ("server.cors_origins", '["a.example"]', "https://example.org"),
    ("server.cors_origins", '["https://a.example/path"]', "https://example.org"),
    ("server.cors_origins", "[1]", "a list of origins"),
    ("mongo.url", '"localhost:27017"', "mongodb://"),
    ("mongo.database", '"a.b"', "letters"),
    ("mongo.database", '"line\\n"', "letters"),
    ("mongo.data_dir", '""', "folder"),
    ("mongo.durable", "1", "true or false"),
    ("mongo.durable", '"true"', "true or false"),
    ("redis.url", '"http://cache"', "redis://"),
    ("auth.secret", '"short"', "32 bytes"),
    ("auth.jwks", "'{\"keys\": []}'", "path of a file"),
    ("auth.leeway_seconds", "-0.5", "seconds"),
    ("session.lobby_minutes", '"10"', "minutes"),
    ("session.lobby_minutes", "true", "minutes"),
    ("session.no_show_minutes", "-1", "from 0"),
    ("session.empty_timeout_seconds", "1e12", "10000000"),
    ("session.node_timeout_seconds", "0", "above 0"),
    ("session.require_registration", '"no"', "true or false"),
    ("recording.allowed_hosts", '["https://a.example"]', "without scheme"),
    ("recording.allowed_hosts", '[".a.example"]', "leading dot"),
    ("limits.message_bytes", "0", "bytes"),
    ("limits.commands_per_second", "0", "above 0"),
    ("limits.command_burst", "1.5", "whole number"),
    ("log.level", '"loud"', "`debug`, `info`, `warning` or `error`"),
    ("log.format", '"xml"', "`auto`, `console` or `json`"),
]
WRONG_IN_A_VARIABLE = [
    ("server.port", "http", "65535"),
    ("server.port", "", "65535"),
    ("server.port", "80.5", "whole number"),
    ("server.host", "", "host name"),
    ("server.host", "\udcff", "host name"),
    ("mongo.durable", "yes", "true or false"),
    ("mongo.durable", "2", "true or false"),
    ("auth.secret", "a" * 31, "32 bytes"),
    ("auth.secret", "\udcff" * 32, "32 bytes"),
    ("session.reconnect_grace_seconds", "ten", "seconds"),
    ("session.reconnect_grace_seconds", "1,5", "seconds"),
    ("session.reconnect_grace_seconds", "-2", "from 0"),
    ("recording.allowed_hosts", "a.example;b.example", "list of host names"),
    ("webrtc.turn_urls", '["turn:turn.example.org:3478"]', ", separated by commas"),
    ("limits.signal_bytes", "16k", "bytes"),
    ("log.level", "2", "`debug`"),
]
NUMBERS = [s for s in describe_settings() if isinstance(s.default, int | float) and not isinstance(s.default, bool)]


class TestRefusals:
    @pytest.mark.parametrize(("name", "value", "right"), WRONG_IN_A_FILE)
    def test_a_wrong_value_in_a_file(self, name: str, value: str, right: str, tmp_path: Path) -> None:
        section, field = name.split(".")
        message = refusal(toml(tmp_path, f"[{section}]\n{field} = {value}\n", "wrong.toml"))
        assert message.startswith(f"{name} (from ")
        assert "wrong.toml): " in message
        assert right in message.partition("; expected ")[2]

    @pytest.mark.parametrize(("name", "value", "right"), WRONG_IN_A_VARIABLE)
    def test_a_wrong_value_in_a_variable(self, name: str, value: str, right: str) -> None:
        variable = f"COORDINATOR_{name.replace('.', '__').upper()}"
        message = refusal(environ={variable: value})
        assert message.startswith(f"{name} (from variable {variable}): ")
        assert right in message.partition("; expected ")[2]
        message.encode()  # can be printed

    @pytest.mark.parametrize(
        "value", [70000, "8080", 1.5, True, object()], ids=["too large", "text", "fraction", "switch", "object"]
    )
    def test_a_wrong_value_in_a_flag(self, value: object) -> None:
        assert refusal(flags={"server.port": value}).startswith("server.port (from the command line): got ")

    @pytest.mark.parametrize("setting", NUMBERS, ids=lambda setting: setting.name)
    @pytest.mark.parametrize("value", ["inf", "-inf", "nan"])
    def test_no_number_may_be_without_end(self, setting: SettingInfo, value: str, tmp_path: Path) -> None:
        assert setting.name in refusal(toml(tmp_path, f"[{setting.section}]\n{setting.field} = {value}\n"))
        assert setting.name in refusal(environ={setting.variable: value})
        assert setting.name in refusal(flags={setting.name: float(value)})

    @pytest.mark.parametrize(
        ("content", "name", "meant"),
        [
            ("[session]\nreconect_grace_seconds = 2\n", "session.reconect_grace_seconds", "session.reconnect_grace"),
            ("[sesion]\nlobby_minutes = 2\n", "sesion", "[session]"),
            ("port = 1\n", "port", "server.port"),
            ("[session]\nport = 1\n", "session.port", "server.port"),
            ("[server]\nHOST = 'x'\n", "server.HOST", "server.host"),
            ("[xyzzy]\n", "xyzzy", "config/README.md"),
        ],
    )
    def test_an_unknown_name_in_a_file(self, content: str, name: str, meant: str, tmp_path: Path) -> None:
        message = refusal(toml(tmp_path, content, "typo.toml"))
        assert message.startswith(f"{name} (from ")
        assert "typo.toml): no such setting; " in message
        assert meant in message

    @pytest.mark.parametrize(
        ("variable", "meant"),
        [
            ("COORDINATOR_FOO", "config/README.md"),
            ("COORDINATOR_SERVER_PORT", "COORDINATOR_SERVER__PORT"),
            ("coordinator_log__levl", "COORDINATOR_LOG__LEVEL"),
            ("COORDINATOR_SESSION__LOBBY_MINUTES__X", "COORDINATOR_SESSION__LOBBY_MINUTES"),
        ],
    )
    def test_an_unknown_variable(self, variable: str, meant: str) -> None:
        message = refusal(environ={variable: "1"})
        assert message.startswith(f"{variable} (from the environment): no such setting; ")
        assert meant in message

    def test_an_unknown_flag(self) -> None:
        assert "did you mean server.port?" in refusal(flags={"server.prot": 1})

    def test_a_section_that_is_no_table(self, tmp_path: Path) -> None:
        assert "expected a table [server]" in refusal(toml(tmp_path, "server = 8080\n"))

    @pytest.mark.parametrize(
        ("content", "line"),
        [("[server]\nport = \n", 2), ("[server]\nport = 1\nport = 2\n", 3), ("[server]\n\nhost = '''x\n", 3)],
    )
    def test_a_file_that_is_not_toml_is_named_with_its_line(self, content: str, line: int, tmp_path: Path) -> None:
        path = toml(tmp_path, content)
        assert refusal(path).startswith(f"{path}, line {line}: not TOML: ")

    def test_a_file_that_cannot_be_read_is_named(self, tmp_path: Path) -> None:
        assert refusal(tmp_path / "none.toml") == f"{tmp_path / 'none.toml'}: cannot be read: No such file or directory"
        latin = tmp_path / "latin.toml"
        latin.write_bytes(b"[server]\nhost = '\xe9'\n")
        assert f"{latin}: not UTF-8" in refusal(latin)

    def test_all_problems_are_listed_at_once(self, tmp_path: Path) -> None:
        file = toml(tmp_path, "[server]\nport = -1\n[log]\nlevel = 'loud'\n")
        with pytest.raises(SettingsError) as caught:
            load(file, environ={"COORDINATOR_FOO": "1"}, flags={"server.host": ""})
        names = [problem.split(" ")[0] for problem in caught.value.problems]
        assert names == ["server.port", "log.level", "COORDINATOR_FOO", "server.host"]


class TestSecrecy:
    SETTINGS = load(
        environ={
            "COORDINATOR_AUTH__SECRET": SECRET,
            "COORDINATOR_AUTH__JWKS": "https://me:hunter2@keys.example/jwks.json",
            "COORDINATOR_MONGO__URL": "mongodb://me:hunter2@db1,db2:27018/?replicaSet=rs0&proxyPassword=hunter2&w=1",
            "COORDINATOR_REDIS__URL": "rediss://:hunter2@cache:6379/0?password=hunter2",
            "COORDINATOR_WEBRTC__TURN_SECRET": "hunter2",
        }
    )

    def test_the_redacted_form_keeps_what_is_not_secret(self) -> None:
        shown = self.SETTINGS.redacted()
        assert shown["auth"]["secret"] == "***"
        assert shown["auth"]["jwks"] == "https://me:***@keys.example/jwks.json"
        assert shown["mongo"]["url"] == "mongodb://me:***@db1,db2:27018/?replicaSet=rs0&proxyPassword=***&w=1"
        assert shown["redis"]["url"] == "rediss://:***@cache:6379/0?password=***"
        assert shown["webrtc"]["turn_secret"] == "***"
        assert shown["server"] == {"host": "127.0.0.1", "port": 8080, "cors_origins": [], "workers": 1}
        msgspec.json.encode(shown)

    @pytest.mark.parametrize("url", ["mongodb://me:hun@ter/2@db/x", "mongodb://db:27017/x", "mongodb://me@db/x?w=1"])
    def test_urls_of_other_shapes(self, url: str) -> None:
        shown = str(load(flags={"mongo.url": url}).redacted()["mongo"]["url"])
        assert shown == url.replace("hun@ter/2", "***")

    def test_unset_secrets_are_shown_as_unset(self) -> None:
        shown = Settings().redacted()
        assert shown["auth"]["secret"] is shown["webrtc"]["turn_secret"] is None

    @pytest.mark.parametrize("show", [repr, str, pretty_repr])
    def test_no_representation_has_a_secret(self, show: type[str]) -> None:
        text = show(self.SETTINGS) + show(self.SETTINGS.auth)
        assert "hunter2" not in text
        assert SECRET not in text
        assert "***" in text

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("auth.secret", "hunter2"),
            ("auth.secret", ["hunter2"]),
            ("auth.jwks", '{"k":"hunter2"}'),
            ("mongo.url", "me:hunter2@db"),
            ("redis.url", "http://me:hunter2@cache"),
            ("webrtc.turn_secret", ["hunter2"]),
        ],
    )
    def test_no_message_has_a_secret(self, name: str, value: object, tmp_path: Path) -> None:
        section, field = name.split(".")
        file = toml(tmp_path, f"[{section}]\n{field} = {json.dumps(value)}\n")
        environ = {f"COORDINATOR_{section}__{field}": value} if isinstance(value, str) else {}
        with pytest.raises(SettingsError) as caught:
            load(file, environ=environ, flags={name: value})
        assert len(caught.value.problems) == 2 + len(environ)
        assert "hunter2" not in str(caught.value)
        assert caught.value.__cause__ is caught.value.__context__ is None


class TestDefaultFiles:
    def test_in_a_source_tree_all_files_of_config_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "pyproject.toml").touch()
        config = tmp_path / "config"
        config.mkdir()
        for name in ("local.toml", "coordinator.toml", "README.md"):
            (config / name).touch()
        (config / "folder.toml").mkdir()
        assert default_files(tmp_path) == [config / "coordinator.toml", config / "local.toml"]

    def test_installed_the_config_folder_of_the_place_it_is_started_in(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        installed = tmp_path / "site-packages"
        monkeypatch.chdir(tmp_path)
        (tmp_path / "config").mkdir()
        (tmp_path / "config" / "other.toml").touch()
        assert default_files(installed) == []
        (tmp_path / "config" / "coordinator.toml").touch()
        assert default_files(installed) == [Path("config/coordinator.toml"), Path("config/other.toml")]

    def test_here_it_finds_the_files_of_this_project(self) -> None:
        assert ROOT / "config" / "coordinator.toml" in default_files()


class TestDocumentation:
    def test_every_setting_says_what_it_is_and_what_is_right(self) -> None:
        for setting in describe_settings():
            assert setting.meaning.endswith("."), setting.name
            assert setting.expected, setting.name

    def test_the_table_lists_exactly_the_settings(self) -> None:
        text = (ROOT / "config" / "README.md").read_text(encoding="utf-8")
        rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
        described = [row for row in rows if "." in row[0]]
        assert [[row[0], row[1], row[3], row[4]] for row in described] == [
            [f"`{s.name}`", f"`{s.variable}`", s.expected, s.meaning] for s in describe_settings()
        ]
        defaults = [None if row[2] == "unset" else json.loads(row[2].strip("`")) for row in described]
        assert defaults == [list(s.default) if isinstance(s.default, tuple) else s.default for s in describe_settings()]

    def test_the_shipped_file_sets_nothing(self) -> None:
        document = tomllib.loads((ROOT / "config" / "coordinator.toml").read_text(encoding="utf-8"))
        assert document == {section: {} for section in Settings.__struct_fields__}

    def test_the_shipped_file_lists_exactly_the_settings_with_their_defaults(self, tmp_path: Path) -> None:
        text = (ROOT / "config" / "coordinator.toml").read_text(encoding="utf-8")
        live = re.sub(r"^# (\w+ = .*)$", r"\1", text, flags=re.MULTILINE)
        document = tomllib.loads(live)
        listed = [(section, field) for section, table in document.items() for field in table]
        assert listed == [(s.section, s.field) for s in describe_settings()]
        assert load(toml(tmp_path, live)) == Settings()
        for setting in describe_settings():
            assert f"\n# {setting.meaning}\n# {setting.field} = " in text
