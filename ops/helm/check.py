"""Renders the chart with the values in tests/ and validates what comes out, and sees that wrong values are refused.

Objects are validated strictly against the schemas of Kubernetes at the oldest and a recent version, custom resources
against the operators' own definitions. With --programs DIR the three executables there must also take the rendered
environment, by `--print-config`.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import jsonschema
import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
# The chart's kubeVersion, and the newest that the validator knows.
VERSIONS = ["1.27.0", kubernetes_validate.latest_version()]
# Custom resources, by the Go modules of their operators.
KEDA = "github.com/kedacore/keda/v2@v2.21.0"
PROMETHEUS = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
DEFINITIONS = {
    "ScaledObject": (KEDA, "config/crd/bases/keda.sh_scaledobjects.yaml"),
    "ServiceMonitor": (PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"),
    "PrometheusRule": (PROMETHEUS, "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"),
}


def render(helm, version, *values):
    """What `helm template` prints and says, and whether it ended well."""
    files = [word for file in values for word in ("--values", str(file))]
    command = [helm, "template", "mill", str(HERE / "tidemill"), "--namespace", "ml", "--kube-version", version]
    done = subprocess.run(command + files, capture_output=True, text=True)
    return done.returncode == 0, done.stdout, done.stderr


def module(name):
    """The folder of a Go module."""
    done = subprocess.run(["go", "mod", "download", "-json", name], capture_output=True, text=True, check=True)
    return pathlib.Path(json.loads(done.stdout)["Dir"])


def strict(schema):
    """The same schema, which refuses fields that it does not name, as `kubectl --validate=strict` does."""
    if isinstance(schema, list):
        return [strict(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: strict(part) for key, part in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema.setdefault("additionalProperties", False)
    return schema


def definition(kind):
    """The schema of a custom resource."""
    name, path = DEFINITIONS[kind]
    resource = yaml.safe_load((module(name) / path).read_text())
    schema = strict(resource["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    # Any object has these two, with fields that the definition leaves out.
    schema["properties"]["metadata"] = {"type": "object"}
    return schema


def check_object(thing, version):
    """Validates one object; returns what is wrong with it."""
    try:
        if thing["kind"] in DEFINITIONS:
            jsonschema.Draft7Validator(definition(thing["kind"])).validate(thing)
        else:
            kubernetes_validate.validate(thing, version, strict=True)
    except jsonschema.ValidationError as error:
        return f"{'.'.join(map(str, error.absolute_path))}: {error.message}"
    return None


def check_references(things):
    """What one object says of another must be so."""
    by_kind = lambda kind: {thing["metadata"]["name"]: thing for thing in things if thing["kind"] == kind}
    sets, services, maps = by_kind("StatefulSet"), by_kind("Service"), by_kind("ConfigMap")
    for name, found in sets.items():
        spec = found["spec"]
        pod = spec["template"]["spec"]
        labels = spec["template"]["metadata"]["labels"].items()
        assert spec["selector"]["matchLabels"].items() <= labels, name
        assert services[spec["serviceName"]]["spec"]["selector"].items() <= labels, name
        budget = by_kind("PodDisruptionBudget")[name]
        assert budget["spec"]["selector"]["matchLabels"].items() <= labels, name
        assert pod["serviceAccountName"] in by_kind("ServiceAccount"), name
        container = pod["containers"][0]
        assert [volume["name"] for volume in pod.get("volumes", [])] == [
            mount["name"] for mount in container.get("volumeMounts", [])
        ], name
        for volume in pod.get("volumes", []):
            if volume["name"] == "files":
                assert volume["configMap"]["name"] in maps, name
    for name, scaled in by_kind("ScaledObject").items():
        assert "replicas" not in sets[scaled["spec"]["scaleTargetRef"]["name"]]["spec"], name
    for monitor in by_kind("ServiceMonitor").values():
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        assert all(wanted <= service["metadata"]["labels"].items() for service in services.values())


def write_files(things, pod, folder):
    """Writes what a pod mounts below `folder`; of Secrets, which are not ours, something of the right form."""
    for volume in pod.get("volumes", []):
        if volume["name"] == "files":
            found = next(t for t in things if t["kind"] == "ConfigMap" and t["metadata"]["name"] == volume["configMap"]["name"])
            for name, text in found["data"].items():
                (folder / "files").mkdir(exist_ok=True)
                (folder / "files" / name).write_text(text)
        if "secret" in volume:
            secret = folder / "secrets" / volume["secret"]["secretName"]
            secret.mkdir(parents=True)
            (secret / "client.properties").write_text("security.protocol=SSL\n")
            (secret / "password").write_text("secret\n")
            request = ["openssl", "req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=test"]
            subprocess.run(request + ["-keyout", secret / "tls.key", "-out", secret / "tls.crt"], check=True, capture_output=True)
            (secret / "ca.crt").write_bytes((secret / "tls.crt").read_bytes())


def check_programs(things, programs):
    """Each executable takes its pod's environment."""
    for found in (thing for thing in things if thing["kind"] == "StatefulSet"):
        pod = found["spec"]["template"]["spec"]
        container = pod["containers"][0]
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            write_files(things, pod, folder)
            environment = {}
            for variable in container["env"]:
                value = variable.get("value", "from-elsewhere")
                value = value.replace("/var/lib/tidemill/training_data", str(folder))
                environment[variable["name"]] = value.replace("/etc/tidemill", str(folder))
            command = [pathlib.Path(programs).resolve() / container["command"][0], "--print-config"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            assert done.returncode == 0, f"{container['name']}: {done.stdout}{done.stderr}"
            for variable, value in environment.items():
                told = value in done.stdout or variable.startswith(("AWS_", "RUST_LOG", "TIDEMILL_REDIS_PASSWORD"))
                assert told, f"{variable}={value} is not in effect:\n{done.stdout}"


def main():
    flags = argparse.ArgumentParser()
    flags.add_argument("--helm", default="helm")
    flags.add_argument("--programs")
    flags = flags.parse_args()
    for name in ["one.yaml", "three.yaml", "tls.yaml"]:
        for version in VERSIONS:
            well, text, said = render(flags.helm, version, HERE / "tests" / name)
            if not well:
                sys.exit(f"{name}: {said}")
            things = [thing for thing in yaml.safe_load_all(text) if thing]
            for thing in things:
                if problem := check_object(thing, version):
                    sys.exit(f"{name}, Kubernetes {version}: {thing['kind']} {thing['metadata']['name']}: {problem}")
            check_references(things)
            print(f"{name}: {len(things)} objects are valid for Kubernetes {version}")
        if flags.programs:
            check_programs(things, flags.programs)
            print(f"{name}: the programs take their environment")
    wrong = yaml.safe_load((HERE / "tests" / "wrong.yaml").read_text())
    for case in wrong:
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            file.write(json.dumps(case["values"]))
            file.flush()
            well, _, said = render(flags.helm, VERSIONS[-1], HERE / "tests" / "one.yaml", file.name)
        if well or not all(part in said for part in case["said"]):
            sys.exit(f"{case['values']} ends with {said or 'success'!r} instead of {case['said']}")
    print(f"{len(wrong)} wrong values are refused")


main()
