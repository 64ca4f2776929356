"""The files of deployment: they parse, pin what they fetch, hold no secret, and name only what there is."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from commands.arguments import build
from commands.cli import VERSION
from config.settings import load_settings
from tests.testkit.paths import ROOT
from tests.testkit.service_manager import directives

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").iterdir())
FILES = sorted(path for path in (*DEPLOY.rglob("*"), ROOT / ".github" / "workflows" / "ci.yml") if path.is_file())
SECRET = re.compile(
    r"AKIA[0-9A-Z]{16}|-----BEGIN|\b(DU|DF|U|F)\d{5,9}\b|gh[pousr]_\w{20}|AGE-SECRET-KEY"
    r"|(?i:password|passwd|token|secret|key)\s*[:=]\s*[\"']?[A-Za-z0-9+/_-]{16,}(?![\w./-]*/)"
)


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def loaded(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return found


@pytest.fixture
def compose() -> dict[str, Any]:
    return loaded(DEPLOY / "docker" / "compose.yaml")


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_file_holds_a_secret(path: Path) -> None:
    found = [line for line in path.read_text(encoding="utf-8").splitlines() if SECRET.search(line)]
    assert [line for line in found if "_FILE" not in line and "/etc/" not in line] == []


@pytest.mark.parametrize("line", ["TWS_PASSWORD: correct-horse-battery", "token = 'abcdefghijklmnopqrst'", "DU1234567"])
def test_a_secret_would_be_seen(line: str) -> None:
    assert SECRET.search(line)


# -- systemd ---------------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_systemd_finds_nothing_to_say_about_the_units(tmp_path: Path) -> None:
    for unit in UNITS:
        text = unit.read_text(encoding="utf-8").replace("/opt/zerohour/.venv/bin/python", sys.executable)
        (tmp_path / unit.name).write_text(text.replace("/opt/zerohour", str(ROOT)), encoding="utf-8")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / unit.name) for unit in UNITS)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    ours = [line for line in (done.stdout + done.stderr).splitlines() if "zerohour" in line]
    assert (done.returncode, ours) == (0, [])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze here")
def test_the_service_is_confined() -> None:
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", str(DEPLOY / "systemd" / "zerohour.service")],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    score = re.search(r"exposure level for zerohour\.service: ([\d.]+)", done.stdout)
    assert score is not None, done.stdout + done.stderr
    assert float(score[1]) < 2.5  # "OK" ends there


def test_the_service_is_watched_restarted_for_ever_and_stopped_gently() -> None:
    rules = directives(DEPLOY / "systemd" / "zerohour.service")
    assert rules["Type"] == ["notify"]
    assert rules["Restart"] == ["on-failure"]
    assert rules["StartLimitIntervalSec"] == ["0"]
    assert int(rules["WatchdogSec"][0]) >= 10 * 3  # ten times what is stuck, and beats of a third
    assert rules["KillMode"] == ["mixed"]


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=name_of)
def test_a_unit_calls_the_program_as_it_can_be_called(unit: Path) -> None:
    (call,) = directives(unit)["ExecStart"]
    python, program, *arguments = shlex.split(call)
    assert (python, program) == ("/opt/zerohour/.venv/bin/python", "main.py")
    build(VERSION).parse_args(arguments)  # SystemExit where it cannot


def test_every_credential_of_the_service_is_named_for_the_program() -> None:
    rules = directives(DEPLOY / "systemd" / "zerohour.service")
    given = {value.partition(":")[0] for value in rules["LoadCredential"]}
    taken = {value.partition("=%d/")[2] for value in rules["Environment"] if "=%d/" in value}
    assert given == taken
    assert known_variables() >= {value.partition("_FILE=")[0] for value in rules["Environment"] if "=%d/" in value}


def known_variables() -> set[str]:
    """Return the variables that the default settings name for secrets."""
    settings = load_settings(profile="real")
    return {*settings.feed.keys, settings.broker.account_env, settings.web.token_env}


# -- containers ------------------------------------------------------------------------------------


def test_images_are_pinned(compose: dict[str, Any]) -> None:
    images = [service["image"] for service in compose["services"].values()]
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    images += re.findall(r"^FROM (\S+)", dockerfile, re.MULTILINE)
    assert len(images) == 3
    for image in images:
        name, colon, tag = image.rpartition(":")
        assert colon and name
        assert re.search(r"\d+\.\d+\.\d+", tag), f"{image} may be another tomorrow"
    assert compose["services"]["zerohour"]["image"] == f"zerohour:{VERSION}"


def test_a_container_is_started_again_whatever_ended_it(compose: dict[str, Any]) -> None:
    assert {service["restart"] for service in compose["services"].values()} == {"unless-stopped"}


def test_nothing_is_published_beyond_this_machine(compose: dict[str, Any]) -> None:
    ports = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_secrets_come_from_files_that_are_not_in_the_checkout(compose: dict[str, Any]) -> None:
    files = [Path(secret["file"]) for secret in compose["secrets"].values()]
    assert all(file.parts[0] == "secrets" for file in files)
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()
    assert "/deploy/docker/secrets/" in ignored
    for service in compose["services"].values():
        for name, value in service["environment"].items():
            if name.endswith("_FILE"):
                assert value.removeprefix("/run/secrets/") in service["secrets"]
    given = {name.removesuffix("_FILE") for name in compose["services"]["zerohour"]["environment"]}
    assert given <= known_variables()


def test_the_desks_settings_load_and_fit_the_gateway_beside_it(compose: dict[str, Any]) -> None:
    settings = load_settings(DEPLOY / "docker" / "zerohour.yaml")
    (gateway,) = settings.broker.gateways
    assert gateway.host in compose["services"]
    assert gateway.port == settings.broker.paper_port
    assert str(gateway.port) in str(compose["services"][gateway.host]["healthcheck"]["test"])
    (network,) = compose["networks"]["desk"]["ipam"]["config"]
    assert settings.web.allowed_from == (network["subnet"],)
    build(VERSION).parse_args(["--data", "/data", *compose["services"]["zerohour"]["command"]])


def test_the_image_takes_every_room_and_nothing_else() -> None:
    lines = (DEPLOY / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "*"
    taken = {line[1:] for line in lines if line.startswith("!")}
    rooms = {path.parent.name for path in ROOT.glob("*/*.py")} - {"tests", "benchmarks", "notebooks", "docs"}
    rooms |= {path.parent.parent.name for path in ROOT.glob("*/*/*.py")} & {"simulation", "messages"}
    assert rooms <= taken
    assert all((ROOT / name).exists() for name in taken)


def test_the_image_is_built_by_hashes_and_runs_as_nobody() -> None:
    text = (DEPLOY / "docker" / "Dockerfile").read_text(encoding="utf-8")
    assert "--require-hashes -r requirements.lock" in text
    assert text.index("USER zerohour") < text.index("ENTRYPOINT")


# -- the cloud, the tunnel, CI -----------------------------------------------------------------------


@pytest.mark.skipif(not (shutil.which("tofu") or shutil.which("terraform")), reason="neither tofu nor terraform here")
def test_the_cloud_files_are_written_as_the_tool_writes_them() -> None:
    tool = shutil.which("tofu") or shutil.which("terraform")
    assert tool is not None
    done = subprocess.run(
        [tool, "fmt", "-check", "-diff", str(DEPLOY / "aws")], capture_output=True, text=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_cloud_opens_no_port_and_uses_only_what_it_declares() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((DEPLOY / "aws").glob("*.tf")))
    assert not re.search(r"^\s*ingress\b", text, re.MULTILINE)
    declared = set(re.findall(r'^variable "(\w+)"', text, re.MULTILINE))
    assert set(re.findall(r"\bvar\.(\w+)", text)) == declared
    resources = {".".join(pair) for pair in re.findall(r'^resource "(\w+)" "(\w+)"', text, re.MULTILINE)}
    assert set(re.findall(r"(?<!data\.)\b(aws_\w+\.\w+)", text)) <= resources | {"aws_ssm_parameter.image"}


@pytest.mark.parametrize("script", sorted(DEPLOY.rglob("*.sh")), ids=name_of)
def test_a_script_is_one_for_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True, timeout=60)


@pytest.mark.parametrize("end", ["desk", "gateway"])
def test_the_tunnel_trusts_one_certificate_and_leads_to_loopback(end: str) -> None:
    lines = (DEPLOY / "tunnel" / f"{end}.conf").read_text(encoding="utf-8").splitlines()
    parsed = configparser.ConfigParser(delimiters=("=",))
    parsed.read_string("\n".join(("[global]", *(line for line in lines if not line.startswith(";")))))
    tunnel = parsed["ib-gateway"]
    other = {"desk": "gateway", "gateway": "desk"}[end]
    assert tunnel["verifyPeer"] == "yes"
    assert tunnel["CAfile"].endswith(f"{other}.pem")
    assert tunnel["sslVersionMin"] == "TLSv1.3"
    assert tunnel["accept" if end == "desk" else "connect"].startswith("127.0.0.1:")


def test_ci_calls_what_people_call_and_pins_its_steps() -> None:
    jobs = loaded(ROOT / ".github" / "workflows" / "ci.yml")["jobs"]
    (job,) = jobs.values()
    steps = job["steps"]
    assert [step["run"] for step in steps if "run" in step] == [".ci/run"]
    assert all(re.search(r"@[0-9a-f]{40}$", step["uses"]) for step in steps if "uses" in step)
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o100


def test_logs_that_rotate_are_those_that_grow() -> None:
    text = (DEPLOY / "logrotate.conf").read_text(encoding="utf-8")
    assert text.count("{") == text.count("}") == 1
    assert "/var/lib/zerohour/run/*.log {" in text
    assert "copytruncate" in text  # the children keep their files open
