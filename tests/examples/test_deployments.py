"""The deployments of the shop: schemas take them, their commands and settings exist, and what they name is there."""

import configparser
import json
import re
import shlex
import shutil
import socket
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml
from commands import parsed

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
COMPOSE = EXAMPLES / "compose" / "compose.yaml"
UNITS = sorted((EXAMPLES / "systemd").glob("shop*.*"))
AUTOSCALER = ROOT / "docs" / "operating" / "keda.yml"

#: What the shop reads.
SETTINGS = set(re.findall(r'"(SHOP_\w+)"', (ROOT / "example_project" / "shop" / "config.py").read_text("utf-8")))


def services():
    return yaml.safe_load(COMPOSE.read_text("utf-8"))["services"]


def unit(file):
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read_string(file.read_text("utf-8"))
    return parser


def specified(text):
    """What systemd makes of the text for an instance."""
    return text.replace("%i", "one").replace("%H", socket.gethostname())


def objects(*paths):
    return [each for path in paths for each in yaml.safe_load_all(path.read_text("utf-8"))]


def kustomized():
    """The objects that ``kubectl apply -k`` makes."""
    folder = EXAMPLES / "kubernetes"
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text("utf-8"))
    assert {folder / name for name in kustomization["resources"]} == set(folder.glob("*.yaml")) - {
        folder / "kustomization.yaml"
    }
    return objects(*(folder / name for name in kustomization["resources"]))


def of_kind(found, kind):
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def containers(found):
    templates = [each["spec"]["template"]["spec"] for each in found if "template" in each.get("spec", {})]
    return [container for template in templates for container in template["containers"]]


def celerys(words):
    """The words of a command of Celery, also within a shell's; none if it is another program's."""
    if words[0] == "sh":
        words = shlex.split(words[-1].replace("$$", "$"))
    return words if words[0].endswith("celery") else None


def commands():
    """Every command line of Celery in these files, by where it is."""
    for name, service in services().items():
        yield f"compose {name}", celerys(service.get("command", ["none"]))
        kind, *words = service.get("healthcheck", {}).get("test", ["CMD", "none"])
        yield f"compose {name} health", celerys(["sh", "-c", *words] if kind == "CMD-SHELL" else words)
    for file in UNITS:
        if file.suffix == ".service":
            yield file.name, celerys(shlex.split(specified(unit(file)["Service"]["ExecStart"])))
    for container in containers([*kustomized(), *objects(AUTOSCALER)]):
        yield f"kubernetes {container['name']}", celerys(container.get("command", ["none"]))
        probe = container.get("livenessProbe", {}).get("exec", {}).get("command", ["none"])
        yield f"kubernetes {container['name']} probe", celerys(probe)
    docker = (EXAMPLES / "compose" / "Dockerfile").read_text("utf-8")
    yield "Dockerfile", celerys(json.loads(re.search(r"^CMD (.+)$", docker, re.MULTILINE)[1]))


COMMANDS = {where: words for where, words in commands() if words}


def test_there_are_commands_of_each_kind():
    kinds = {
        tuple(word for word in words if word in {"worker", "metrics", "web", "doctor"}) for words in COMMANDS.values()
    }
    assert kinds == {("worker",), ("metrics",), ("web",), ("doctor",)}
    assert len(COMMANDS) >= 11


@pytest.mark.parametrize("where", COMMANDS)
def test_a_command_is_one(where):
    assert parsed(COMMANDS[where])["app"] == "shop"


@pytest.mark.parametrize(
    "words", ["worker --hostnam x", "dtimer metric", "dtimer doctor --life", "dtimer web --port x"]
)
def test_a_command_that_is_none_is_found(words):
    with pytest.raises(click.UsageError):
        parsed(["celery", "-A", "shop", *words.split()])


def test_the_probes_ask_the_worker_by_the_name_that_it_has():
    for where, words in COMMANDS.items():
        if "--live" not in words:
            continue
        place = where.removesuffix(" health").removesuffix(" probe").replace("shop-live", "shop-worker")
        worker = parsed(COMMANDS[place])["hostname"]
        # In a container, $HOSTNAME is the host's name.
        assert words[words.index("-d") + 1].replace("$HOSTNAME", socket.gethostname()) == worker, where


def test_the_settings_are_the_shops():
    given = [service.get("environment", {}) for service in services().values()]
    given += [each["data"] for each in kustomized() if each["kind"] == "ConfigMap"]
    lines = (EXAMPLES / "systemd" / "shop.env").read_text("utf-8").splitlines()
    given.append(dict(line.split("=", 1) for line in lines if not line.startswith("#")))
    assert {name for each in given for name in each} <= SETTINGS
    assert sum("SHOP_REDIS_URL" in each for each in given) == len(services()) - 1 + 2


def test_compose_takes_its_file():
    """By the specification's schema, as check-jsonschema has it."""
    schema = json.loads(
        files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text("utf-8")
    )
    document = yaml.safe_load(COMPOSE.read_text("utf-8"))
    jsonschema.validate(document, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**document, "servces": {}}, schema)
    for service in document["services"].values():
        assert set(service.get("depends_on", ())) <= set(document["services"])
        for volume in service.get("volumes", ()):
            assert volume.split(":")[0] in document["volumes"]
        if "build" in service:
            context = COMPOSE.parent / service["build"]["context"]
            docker = (context / service["build"]["dockerfile"]).read_text("utf-8")
            for source in re.findall(r"^COPY (\S+)", docker, re.MULTILINE):
                assert (context / source).exists()


@pytest.mark.parametrize("file", UNITS, ids=lambda file: file.name)
def test_a_unit_has_the_sections_of_its_kind_and_names_units_that_exist(file):
    if file.suffix == ".env":
        return
    parser = unit(file)
    expected = {".service": "Service", ".timer": "Timer"}[file.suffix]
    assert {"Unit", expected} <= set(parser.sections()) <= {"Unit", expected, "Install"}
    named = re.findall(r"shop-[\w]+@?", parser["Unit"].get("OnFailure", "") + parser[expected].get("ExecStart", ""))
    assert {f"{name}.service" for name in named} <= {each.name for each in UNITS}
    if file.suffix == ".timer":
        assert file.with_suffix(".service") in UNITS


@pytest.mark.slow  # it needs systemd's package, which make test does not ask for
@pytest.mark.skipif(sys.platform == "darwin", reason="there is no systemd on macOS")
def test_systemd_takes_the_units(tmp_path):
    """It looks for the programs too, so that one which is there stands for them."""
    verify = shutil.which("systemd-analyze")
    assert verify, "systemd-analyze is not on the PATH: install the package systemd"
    for file in UNITS:
        text = file.read_text("utf-8").replace("/srv/shop/.venv/bin/celery", sys.executable)
        (tmp_path / file.name).write_text(text.replace("User=shop", "User=root"))
    names = [tmp_path / each.name.replace("@.", "@one.") for each in UNITS if each.suffix != ".env"]
    for name in names:
        if not name.exists():
            name.symlink_to(name.name.replace("@one.", "@."))
    done = subprocess.run(
        [verify, "verify", "--man=no", *names], capture_output=True, text=True, timeout=60, check=False
    )
    told = [line for line in done.stderr.splitlines() if str(tmp_path) in line or "shop-" in line]
    assert told == []


def test_kubernetes_takes_the_manifests():
    found = [*kustomized(), *objects(AUTOSCALER)]
    for each in found:
        if not each["apiVersion"].startswith("keda."):  # no kind of Kubernetes' own; see test_monitoring_files.py
            kubernetes_validate.validate(each, kubernetes_validate.latest_version(), strict=True)
    [worker] = of_kind(found, "PodDisruptionBudget").values()
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(
            {**worker, "spec": {"minAvailabel": 1}}, kubernetes_validate.latest_version(), strict=True
        )


def test_the_objects_of_kubernetes_find_each_other():
    found = [*kustomized(), *objects(AUTOSCALER)]
    for each in found:
        selected = each.get("spec", {}).get("selector")
        if selected and each["kind"] in {"Deployment", "StatefulSet"}:
            assert selected["matchLabels"] == each["spec"]["template"]["metadata"]["labels"]
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in found if "template" in each.get("spec", {})]
    assert all(each["spec"]["selector"] in labels for each in of_kind(found, "Service").values())
    assert all(
        each["spec"]["selector"]["matchLabels"] in labels for each in of_kind(found, "PodDisruptionBudget").values()
    )
    assert set(of_kind(found, "StatefulSet")) == set(of_kind(found, "Service"))
    for container in containers(found):
        if container["name"] != "redis":
            assert container["envFrom"] == [{"configMapRef": {"name": "shop"}}]
            assert container["image"] == "registry.example.com/shop:latest"
    [config] = of_kind(found, "ConfigMap").values()
    assert re.search(r"//([\w-]+):", config["data"]["SHOP_REDIS_URL"])[1] in of_kind(found, "Service")
    [scaled] = of_kind(found, "ScaledObject").values()
    assert scaled["spec"]["scaleTargetRef"]["name"] in of_kind(found, "Deployment")
