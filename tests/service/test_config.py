"""Settings by file, environment and flags: who goes before whom, what is refused, what is shown."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest

from gradmesh_engine.errors import InvalidRequestError
from gradmesh_server import cli
from gradmesh_server.config import GIB, MIB, SETTINGS, Config, is_loopback
from gradmesh_server.settings import load
from gradmesh_server.tokens import make_token
from tests.house.sources import ROOT
from tests.service.certificates import Authority

FILE = """
host = "127.0.0.2"
port = 1
inline = "never"

[limits]
max_running = 3
max_waiting = 5
max_stored_bytes = "3GiB"
max_flops = 1000
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "gradmesh.toml"
    path.write_text(FILE)
    return str(path)


def test_defaults() -> None:
    settings = load(None, {}, {})
    assert settings.config == Config()
    assert set(settings.sources.values()) == {"default"}


def test_flags_go_before_the_environment_before_the_file(file: str) -> None:
    environment = {"GRADMESH_PORT": "2", "GRADMESH_MAX_RUNNING": "4", "GRADMESH_INSECURE": "yes"}
    settings = load(file, environment, {"port": "3", "max_message_bytes": "1.5MiB"})
    config = settings.config
    assert (config.port, config.max_running, config.max_waiting, config.inline) == (3, 4, 5, "never")
    assert (config.insecure, config.max_stored_bytes, config.max_message_bytes) == (True, 3 * GIB, 3 * MIB // 2)
    assert (config.host, config.max_flops) == ("127.0.0.2", 1000)
    assert settings.sources["port"] == "from the flag --port"
    assert settings.sources["max_running"] == "from the environment variable GRADMESH_MAX_RUNNING"
    assert settings.sources["max_waiting"] == f"from {file}"
    assert settings.sources["programs"] == "default"


def test_what_kubernetes_says_of_a_service_is_no_setting() -> None:
    environment = {"GRADMESH_PORT": "tcp://10.0.0.7:50051", "GRADMESH_METRICS_PORT": "tcp://10.0.0.8:9464"}
    assert load(None, environment, {}).config == Config()


WRONG: dict[str, tuple[str, dict[str, str], dict[str, str | bool], tuple[str, ...]]] = {
    "a word for a number": ("", {}, {"port": "http"}, ("port", "--port", "0 to 65535", "http")),
    "too great": ("", {"GRADMESH_PORT": "65536"}, {}, ("port", "GRADMESH_PORT", "0 to 65535", "65536")),
    "too small": ("[limits]\nmax_running = 0", {}, {}, ("max_running", ".toml", "at least 1", "0")),
    "a number for a string": ("host = 3", {}, {}, ("host", ".toml", "a string", "3")),
    "a bool for a number": ("[limits]\nmax_running = true", {}, {}, ("max_running", "an integer", "True")),
    "a fraction of a request": ("[limits]\nmax_running = 1.5", {}, {}, ("max_running", "an integer", "1.5")),
    "not a number": ("[limits]\nmax_flops = nan", {}, {}, ("max_flops", "a number", "nan")),
    "without end": ("", {"GRADMESH_MAX_SECONDS": "inf"}, {}, ("max_seconds", "a number", "inf")),
    "no such choice": ("inline = 'sometimes'", {}, {}, ("inline", "auto or never", "sometimes")),
    "no such unit": ("", {}, {"max_tensor_bytes": "4 parsec"}, ("max_tensor_bytes", "16MiB", "4 parsec")),
    "neither true nor false": ("", {"GRADMESH_INSECURE": "maybe"}, {}, ("insecure", "true or false", "maybe")),
    "misspelt": ("[limits]\nmax_runing = 3", {}, {}, ("max_runing", "did you mean max_running")),
    "in the wrong table": ("max_running = 3", {}, {}, ("max_running", "put it in the table [limits]")),
    "in another wrong table": ("[limits]\nhost = 'x'", {}, {}, ("host", "put it at the top level")),
    "limits is no table": ("limits = 3", {}, {}, ("limits", "a table [limits]")),
    "not TOML": ("host: 3", {}, {}, (".toml", "line 1")),
    "no such file": ("", {}, {"tls_cert": "/nowhere/x.pem"}, ("tls_cert", "--tls-cert", "No such file")),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_values_are_refused_with_name_source_and_what_is_allowed(case: str, tmp_path: Path) -> None:
    text, environment, flags, said = WRONG[case]
    path = tmp_path / "gradmesh.toml"
    path.write_text(text)
    with pytest.raises(InvalidRequestError) as caught:
        load(str(path), environment, flags)
    for part in said:
        assert part in str(caught.value), str(caught.value)


def test_a_configuration_that_is_not_there() -> None:
    with pytest.raises(InvalidRequestError, match="No such file"):
        load("/nowhere/gradmesh.toml", {}, {})


def test_a_value_in_code_is_checked_too() -> None:
    with pytest.raises(InvalidRequestError, match="max_running"):
        Config(max_running=0)


def test_a_secret_in_place_of_its_file_is_not_shown(tmp_path: Path) -> None:
    secret = "-----BEGIN PRIVATE KEY-----\nabc"
    with pytest.raises(InvalidRequestError) as caught:
        load(None, {"GRADMESH_TLS_KEY": secret}, {})
    assert "abc" not in str(caught.value)
    assert "tls_key" in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.3.2.1", "::1", "[::1]", "localhost"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "example.org", "", "127.0.0.1.example.org"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


def test_other_interfaces_need_tls_and_authentication_or_a_word(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    tls = {"tls_cert": str(pair.cert), "tls_key": str(pair.key)}
    tokens = tmp_path / "tokens"
    tokens.write_text(make_token("alice")[1])
    everywhere = {"host": "0.0.0.0"}
    with pytest.raises(InvalidRequestError, match="no TLS and no authentication.*read the traffic and use the service"):
        load(None, {}, everywhere)
    with pytest.raises(InvalidRequestError, match="there is no authentication.*may use the service"):
        load(None, {}, everywhere | tls)
    with pytest.raises(InvalidRequestError, match="there is no TLS.*may read the traffic"):
        load(None, {}, everywhere | {"tokens": str(tokens)})
    load(None, {}, everywhere | tls | {"tokens": str(tokens)})
    load(None, {}, everywhere | tls | {"tls_client_ca": str(authority.file)})
    load(None, {}, everywhere | {"insecure": True})


def test_settings_that_contradict_each_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    with pytest.raises(InvalidRequestError, match="tls_cert is set and tls_key is not"):
        load(None, {}, {"tls_cert": str(pair.cert)})
    with pytest.raises(InvalidRequestError, match="tls_key is set and tls_cert is not"):
        load(None, {}, {"tls_key": str(pair.key)})
    with pytest.raises(InvalidRequestError, match="tls_client_ca is set"):
        load(None, {}, {"tls_client_ca": str(authority.file)})


# --- the command line -----------------------------------------------------------------------------


def test_check_shows_what_would_be_served(
    file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Authority(tmp_path).issue("server")
    secret, line = make_token("alice")
    tokens = tmp_path / "tokens"
    tokens.write_text(line)
    monkeypatch.setenv("GRADMESH_CONFIG", file)
    monkeypatch.setenv("GRADMESH_MAX_RUNING", "7")
    flags = ["--tls-cert", str(pair.cert), "--tls-key", str(pair.key), "--tokens", str(tokens), "--port", "0"]
    assert cli.main(["serve", "--check", *flags]) == 0
    out = capsys.readouterr().out
    shown = tomllib.loads(out)
    assert (shown["port"], shown["limits"]["max_stored_bytes"]) == (0, "3GiB")
    assert re.search(r"^port = 0 +# from the flag --port$", out, re.MULTILINE)
    assert "not settings: GRADMESH_MAX_RUNING" in out
    for hidden in (secret.rsplit(".", 1)[1], line.rsplit(":", 1)[1], pair.key.read_text().splitlines()[1]):
        assert hidden not in out
    # What it shows is a file that gives the same settings.
    again = tmp_path / "again.toml"
    again.write_text(out)
    assert load(str(again), {}, {}).config == load(file, {}, dict(zip(FLAGS, flags[1::2], strict=True))).config


FLAGS = ("tls_cert", "tls_key", "tokens", "port")


def test_check_reads_the_files_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    authority = Authority(tmp_path)
    one, other = authority.issue("one"), authority.issue("other")
    assert cli.main(["serve", "--check", "--tls-cert", str(one.cert), "--tls-key", str(other.key)]) == 1
    assert "tls_cert" in capsys.readouterr().err
    tokens = tmp_path / "tokens"
    tokens.write_text(f"# mine\n\n{make_token('alice')[0]}\n")
    assert cli.main(["serve", "--check", "--tokens", str(tokens)]) == 1
    error = capsys.readouterr().err
    assert "line 3" in error
    assert "gm.alice" not in error
    tokens.write_text("# nobody yet\n")
    assert cli.main(["serve", "--check", "--tokens", str(tokens)]) == 1
    assert "names nobody" in capsys.readouterr().err


def test_a_wrong_flag_is_an_error_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--max-running", "many"]) == 1
    assert capsys.readouterr().err.startswith("gradmesh: max_running is wrong, from the flag --max-running")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert (done.value.code, capsys.readouterr().out) == (0, f"gradmesh {version('gradmesh')}\n")


def test_every_setting_is_a_flag_and_documented() -> None:
    page = (ROOT / "docs" / "configuration.md").read_text()
    for setting in SETTINGS.values():
        shown = {None: "–", "": "–"}.get(setting.default, setting.default_text)
        if setting.name == "max_running":
            shown = "twice the cores, at least 4"
        assert f"| `{setting.name}` | {shown} | {setting.doc} |" in page, setting.name
