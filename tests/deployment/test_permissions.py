"""Each function may do what its binary can ask AWS for, and nothing else.

A release binary holds an operation of the SDK only if some path of ours leads to it: what is never called is taken out
when it is linked. The names are in the types of its errors.
"""

import re

import pytest

from template import BUILT, SOURCE, TARGET, listed, statements

# How the SDK itself comes by credentials, on machines that are no Lambda. Nothing of ours leads there.
CREDENTIALS = {("sts", "assume_role_with_web_identity"), ("sso", "get_role_credentials"), ("ssooidc", "create_token")}
PROFILES = ("sts", "assume_role")

LOCKS, AUDIT = {"Fn::GetAtt": ["LocksTable", "Arn"]}, {"Fn::GetAtt": ["AuditTable", "Arn"]}

# An operation's actions on each table. A transaction asks for the actions of its statements: an entry is inserted, a
# head inserted or updated, a marker inserted (src/dynamo/audit.rs).
TRANSACTION = {"dynamodb:PartiQLInsert": [LOCKS, AUDIT], "dynamodb:PartiQLUpdate": [LOCKS]}


def operations(function):
    binary = (BUILT / function / "bootstrap").read_bytes()
    found = re.findall(rb"aws_sdk_([a-z0-9]+)::operation::([a-z_]+)::[A-Z][A-Za-z]+Error", binary)
    return {(service.decode(), name.decode()) for service, name in found}


def camel(name):
    return "".join(word.capitalize() for word in name.split("_"))


def needed(function, profiles_are_ours):
    """The (action, resource) pairs that a binary needs; `None` for a resource that is no table."""
    pairs = set()
    for service, name in operations(function) - CREDENTIALS:
        if (service, name) == PROFILES and not profiles_are_ours:
            continue
        if name == "execute_transaction":
            pairs |= {(action, str(table)) for action, tables in TRANSACTION.items() for table in tables}
        elif service == "dynamodb":
            pairs.add((f"dynamodb:{camel(name)}", str(LOCKS)))
        else:
            pairs.add((f"{service}:{camel(name)}", None))
    return pairs


def allowed(template, role, tables=(LOCKS, AUDIT)):
    """The same of a role, but for what Lambda does for the function: its logs, its queue, its key."""
    pairs = set()
    for statement in statements(template, role):
        assert statement["Effect"] == "Allow"
        for action in listed(statement["Action"]):
            if action.split(":")[0] in ("logs", "sqs", "kms"):
                continue
            resource = statement["Resource"]
            pairs.add((action, str(resource) if resource in tables else None))
    return pairs


@pytest.mark.parametrize("function", ["Revoker", "ConnectHandler"])
def test_a_function_may_do_exactly_what_its_binary_can(function):
    assert operations(function), "the way to find operations in a binary finds none any more"
    expected = needed(function, profiles_are_ours=function == "Revoker")
    assert allowed(SOURCE, f"{function}Role") == expected


def test_the_role_in_another_account_may_do_what_is_done_there():
    there = {pair for pair in needed("Revoker", profiles_are_ours=False) if pair[0].startswith("ec2:")}
    assert allowed(TARGET, "Role") == there
    here = [{"Ref": "LocksTableArn"}, {"Ref": "AuditTableArn"}]
    renamed = {str(LOCKS): str(here[0]), str(AUDIT): str(here[1])}
    expected = {(action, renamed[table]) for action, table in needed("ConnectHandler", profiles_are_ours=False)}
    assert allowed(TARGET, "ConnectHandlerRole", here) == expected


def writes_a_table(action):
    action = action.lower()
    reads = ("getitem", "batchgetitem", "query", "scan", "partiqlselect", "describe", "getrecords", "getsharditerator", "list")
    return action == "*" or action.startswith("dynamodb:") and not action.removeprefix("dynamodb:").startswith(reads)


def test_nobody_may_change_or_delete_an_audit_entry():
    for role in ("RevokerRole", "ConnectHandlerRole", "NewsPipeMay", "ArchivePipeMay", "RunbookRole"):
        for statement in statements(SOURCE, role):
            writes = [action for action in listed(statement["Action"]) if writes_a_table(action)]
            if role in ("RevokerRole", "ConnectHandlerRole") and statement["Resource"] == LOCKS:
                continue
            assert not writes or (writes, statement["Resource"]) == (["dynamodb:PartiQLInsert"], AUDIT), role


def test_the_connect_handler_can_not_write_a_lock_nor_read_the_directory():
    for template in (SOURCE, TARGET):
        for statement in statements(template, "ConnectHandlerRole"):
            if "dynamodb:GetItem" in listed(statement["Action"]):
                hidden = {"dynamodb:LeadingKeys": ["#directory/*", "#alias*", "#breaker/*"]}
                assert statement["Condition"]["ForAllValues:StringNotLike"] == hidden
                assert statement["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}
            writes = [action for action in listed(statement["Action"]) if writes_a_table(action)]
            if writes and statement["Resource"] not in (AUDIT, {"Ref": "AuditTableArn"}):
                condition = statement["Condition"]
                assert condition["ForAllValues:StringLike"] == {"dynamodb:LeadingKeys": ["#head/*", "#done/denied:*"]}
                assert condition["Null"] == {"dynamodb:LeadingKeys": "false"}


def test_the_connect_handler_holds_no_ec2():
    assert {service for service, _ in operations("ConnectHandler")} <= {"dynamodb", "sts", "sso", "ssooidc"}


def test_a_role_is_assumed_only_if_it_is_named():
    (statement,) = [s for s in statements(SOURCE, "RevokerRole") if s["Action"] == "sts:AssumeRole"]
    assert statement["Resource"] == {"Fn::Split": [",", {"Ref": "TargetRoles"}]}
