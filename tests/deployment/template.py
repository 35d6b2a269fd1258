"""The templates, as data."""

import pathlib

from samcli.yamlhelper import yaml_parse

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILT = ROOT / ".aws-sam" / "build"


def load(path):
    return yaml_parse(path.read_text())


SOURCE = load(ROOT / "template.yaml")
TARGET = load(ROOT / "target.yaml")


def of_type(template, kind):
    return {name: item for name, item in template["Resources"].items() if item["Type"] == kind}


def statements(template, *names):
    """The statements of the policies of roles, those under conditions included."""
    found = []
    for name in names:
        properties = template["Resources"][name]["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        for document in documents:
            for statement in document["Statement"]:
                found += chosen([statement])
    return found


def chosen(statements):
    """Statements as they are where every condition holds."""
    return [statement["Fn::If"][1] if "Fn::If" in statement else statement for statement in statements]


def listed(value):
    return value if isinstance(value, list) else [value]
