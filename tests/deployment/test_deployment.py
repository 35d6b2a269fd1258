"""The deployed stack, from outside."""

import json
import os
import re
import subprocess
import uuid

import pytest

from pipe import NewsPipe
from template import ROOT, SOURCE
from world import ACCOUNT, REGION, until

SAMPLES = ROOT / "events"


def sample(path):
    return json.loads((SAMPLES / path).read_text())


def command_event(cloud, **command):
    entry = {
        "Source": "vpn-revoker",
        "DetailType": "VPN Revoker Command",
        "Detail": json.dumps(command),
        "EventBusName": cloud.ids["Bus"],
    }
    assert cloud.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def okta_deactivates(subject, uuid):
    event = sample("okta/deactivate-eventbridge.json")
    event["detail"]["target"][0]["alternateId"] = subject
    event["detail"]["uuid"] = uuid
    return event


def revoked(cloud, subject, signal):
    """Recorded as completed for that signal, and with nothing alive."""
    return "completed" in cloud.kinds(subject, signal) and not cloud.vpn.alive(subject)


@pytest.fixture(scope="module")
def news(cloud):
    return cloud.listen("News")


@pytest.fixture(scope="module")
def alarms(cloud):
    return cloud.listen("Alarms")


@pytest.fixture(scope="module")
def pipe(cloud):
    return NewsPipe(cloud)


def test_a_command_on_the_bus_ends_the_connections_and_is_told_of(cloud, pipe, news):
    subject = "dana.reyes@example.com"
    for _ in range(7):
        cloud.vpn.connect(subject)
    cloud.vpn.connect("adana.reyes@example.com")
    command_event(cloud, action="revoke", subjects=[subject], reason="INC-1", requested_by="soc", id="INC-1-1")
    until(lambda: revoked(cloud, subject, "INC-1-1"), f"{subject} is revoked")
    assert cloud.kinds(subject, "INC-1-1") == ["requested", "completed"]
    assert len(cloud.vpn.alive("adana.reyes@example.com")) == 1, "a bystander"

    def told():
        pipe.carry()
        return [json.loads(body) for body in cloud.heard(news)]

    for event in until(told, "the topic tells of it"):
        image = event["detail"]["dynamodb"]["NewImage"]
        assert (event["source"], event["detail"]["eventName"]) == ("vpn-revoker.audit", "INSERT")
        assert (image["subject"]["S"], image["kind"]["S"]) == (subject, "completed"), "and not of what was requested"


def test_a_partners_event_on_the_queue_revokes(cloud):
    subject = "lee.park@example.com"
    cloud.vpn.connect(subject)
    cloud.send(okta_deactivates(subject, "5f0c2a1e-0d51-11f1-8c1e-000000000001"))
    signal = "okta:5f0c2a1e-0d51-11f1-8c1e-000000000001"
    until(lambda: revoked(cloud, subject, signal), f"{subject} is revoked")
    assert cloud.entries(subject)[0]["authority"]["S"] == "okta:example-corp"


def test_a_poisonous_message_does_no_harm(cloud):
    subject = "noor.haddad@example.com"
    cloud.vpn.connect(subject)
    for poison in ("", "{", "[" * 5000, '{"username":"%s"}' % subject, '{"source":"vpn-revoker","detail":null}'):
        cloud.send(poison or " ")
    cloud.send(okta_deactivates(subject, "5f0c2a1e-0d51-11f1-8c1e-000000000002"))
    until(lambda: revoked(cloud, subject, "okta:5f0c2a1e-0d51-11f1-8c1e-000000000002"), f"{subject} is revoked")
    until(lambda: cloud.waiting("Signals") == 0, "the poison is gone")
    assert cloud.waiting("DeadLetters") == 0


def test_what_can_not_be_done_ends_in_the_dead_letter_queue_and_a_redrive_does_it(cloud):
    subject = "ari.cohen@example.com"
    signal = "okta:5f0c2a1e-0d51-11f1-8c1e-000000000003"
    cloud.vpn.connect(subject)
    cloud.vpn.control("POST", "faults", NOT_ALLOWED | {"always": True})
    try:
        cloud.send(okta_deactivates(subject, "5f0c2a1e-0d51-11f1-8c1e-000000000003"))
        until(lambda: cloud.waiting("DeadLetters") == 1, "the message is in the dead-letter queue")
        assert cloud.vpn.alive(subject) and "incomplete" in cloud.kinds(subject, signal), "honestly said"
    finally:
        cloud.vpn.control("DELETE", "faults")
    assert "completed" not in cloud.kinds(subject, signal)
    redrive(cloud)
    until(lambda: revoked(cloud, subject, signal), f"{subject} is revoked, by the signal and not by a sweep alone")
    assert cloud.waiting("DeadLetters") == 0


NOT_ALLOWED = {
    "action": "TerminateClientVpnConnections",
    "kind": "error",
    "status": 403,
    "code": "UnauthorizedOperation",
    "message": "You are not authorized to perform this operation.",
}


def redrive(cloud):
    """What `aws sqs start-message-move-task` does, which the engine does not know."""
    sqs = cloud.client("sqs")
    (message,) = sqs.receive_message(QueueUrl=cloud.ids["DeadLetters"], WaitTimeSeconds=5)["Messages"]
    cloud.send(message["Body"])
    sqs.delete_message(QueueUrl=cloud.ids["DeadLetters"], ReceiptHandle=message["ReceiptHandle"])


def test_the_schedule_sweeps_who_came_back(cloud):
    subject = "sam.ortiz@example.com"
    error, receipt = cloud.invoke("Revoker", {"action": "revoke", "subjects": [subject], "reason": "INC-3", "id": "INC-3"})
    assert (error, receipt["outcome"]) == (None, "completed")
    cloud.vpn.connect(subject)
    until(lambda: not cloud.vpn.alive(subject), "a sweep ends the connection", seconds=240)

    def swept():
        entries = cloud.entries(subject)
        return any(e["kind"]["S"] == "completed" and e["signal_id"]["S"].startswith("sweep:") for e in entries)

    until(swept, "the sweep is recorded")


def test_the_connect_handler_answers(cloud):
    subject = "kim.tran@example.com"
    request = sample("connect-handler/v3.json") | {"username": subject}
    error, answer = cloud.invoke("ConnectHandler", request)
    assert (error, answer["allow"], answer["schema-version"]) == (None, True, "v3")
    error, receipt = cloud.invoke("Revoker", {"action": "revoke", "subjects": [subject], "reason": "INC-4", "id": "INC-4"})
    assert (error, receipt["outcome"]) == (None, "completed")
    asked = iter(range(100))

    def refused_and_recorded():
        # Each asks at another endpoint: an entry that takes longer than a second is left out, and the answer is not.
        endpoint = f"cvpn-endpoint-{next(asked):017x}"
        error, answer = cloud.invoke("ConnectHandler", request | {"endpoint-id": endpoint})
        assert (error, answer["allow"]) == (None, False)
        return "denied" in cloud.kinds(subject)

    until(refused_and_recorded, "the refusal is recorded")
    error, answer = cloud.invoke("ConnectHandler", request | {"username": "break-glass-1"})
    assert (error, answer["allow"]) == (None, True), "protected"


def test_a_connect_handler_of_target_yaml_reads_the_home_locks(cloud):
    outputs = cloud.deploy_target()
    assert outputs["RoleArn"].endswith(":role/vpn-revoker-target")
    assert outputs["ConnectHandlerArn"].endswith(":function:AWSClientVPN-elsewhere")
    subject = "eli.stone@example.com"
    error, receipt = cloud.invoke("Revoker", {"action": "revoke", "subjects": [subject], "reason": "INC-11", "id": "INC-11"})
    assert (error, receipt["outcome"]) == (None, "completed")
    for username, allow in ((subject, False), ("pat.rossi@example.com", True)):
        request = json.dumps(sample("connect-handler/v2.json") | {"username": username})
        answer = cloud.client("lambda").invoke(FunctionName=outputs["ConnectHandlerArn"], Payload=request)
        assert "FunctionError" not in answer and json.loads(answer["Payload"].read())["allow"] is allow, username


def test_the_alias_that_provisioned_concurrency_needs_answers_too(cloud):
    request = sample("connect-handler/v3.json") | {"username": "pat.rossi@example.com"}
    qualified = f"{cloud.ids['ConnectHandler']}:live"
    answer = cloud.client("lambda").invoke(FunctionName=qualified, Payload=json.dumps(request))
    assert "FunctionError" not in answer and json.loads(answer["Payload"].read())["allow"] is True


def test_who_changes_the_trail_rings_an_alarm(cloud, pipe, alarms):
    subject = "robin.maas@example.com"
    error, _ = cloud.invoke("Revoker", {"action": "revoke", "subjects": [subject], "reason": "INC-5", "id": "INC-5"})
    assert error is None
    pipe.carry()
    assert cloud.heard(alarms) == [], "adding rings nothing"
    entry = cloud.entries(subject)[0] | {"reason": {"S": "nothing to see here"}}
    cloud.client("dynamodb").put_item(TableName=cloud.ids["AuditTable"], Item=entry)
    cloud.client("dynamodb").delete_item(
        TableName=cloud.ids["AuditTable"], Key={"subject": {"S": subject}, "seq": {"N": "2"}}
    )
    pipe.carry()
    heard = []

    def both():
        heard.extend(cloud.heard(alarms))
        return len(heard) == 2

    until(both, "two alarms")
    assert any(f"MODIFY: entry 1 of {subject}" in text for text in heard), heard
    assert any(f"REMOVE: entry 2 of {subject}" in text for text in heard), heard


def test_a_wrong_parameter_fails_at_the_parameter(cloud):
    """The engine looks at lists of values only; test_template.py has the others."""
    done = cloud.sam_deploy("another", {"Mode": "Enforce"})
    assert done.returncode != 0 and "'Mode' value 'Enforce' is not in AllowedValues" in done.stderr, done.stderr


def test_neither_table_can_be_deleted_by_mistake(cloud):
    dynamodb = cloud.client("dynamodb")
    for table in ("LocksTable", "AuditTable"):
        with pytest.raises(dynamodb.exceptions.ClientError, match="protected against deletion"):
            dynamodb.delete_table(TableName=cloud.ids[table])


def test_the_functions_are_named_as_the_documentation_says(cloud):
    assert cloud.ids["ConnectHandler"].split(":")[-1] == "AWSClientVPN-vpn-revoker"
    assert cloud.ids["Revoker"].split(":")[-1] == "vpn-revoker-revoker"


def runbook_step(name):
    steps = SOURCE["Resources"]["Runbook"]["Properties"]["Content"]["mainSteps"]
    return next(step["inputs"] for step in steps if step["name"] == name)


def read_receipt(receipt):
    """The runbook's own script."""
    space = {}
    exec(runbook_step("read_receipt")["Script"], space)
    return space["read_receipt"]({"receipt": receipt}, None)


def test_the_runbook_sends_a_command_and_reads_its_receipt(cloud):
    def filled(value, given):
        text = json.dumps(value)
        for key, word in given.items():
            text = text.replace("{{ %s }}" % key, word)
        assert "{{" not in text
        return json.loads(text)

    given = {"Subject": "ivo.lang@example.com", "Reason": "INC-8", "RequestedBy": "jane", "automation:EXECUTION_ID": "e-1"}
    cloud.vpn.connect(given["Subject"])
    error, receipt = cloud.invoke("Revoker", filled(runbook_step("revoke")["InputPayload"], given))
    assert error is None and revoked(cloud, given["Subject"], "e-1")
    # Whether a step's output is a text or an object, AWS does not say.
    for form in (receipt, json.dumps(receipt)):
        assert read_receipt(form) == {"outcome": "completed", "signal_id": "e-1"}
    for bad in ({"outcome": "incomplete"}, {"errorMessage": "Task timed out"}, {}):
        with pytest.raises(Exception, match="not ended, or not verified"):
            read_receipt(bad)


def playbook(cloud):
    """The example for Step Functions, as a state machine."""
    definition = (ROOT / "examples" / "incident-playbook.asl.json").read_text()
    arn = cloud.client("lambda").get_function(FunctionName=cloud.ids["Revoker"])["Configuration"]["FunctionArn"]
    made = cloud.client("stepfunctions").create_state_machine(
        name=f"playbook-{uuid.uuid4()}",
        definition=definition.replace("${RevokerArn}", arn),
        roleArn=f"arn:aws:iam::{ACCOUNT}:role/playbook",
    )
    return made["stateMachineArn"]


def play(cloud, machine, **given):
    states = cloud.client("stepfunctions")
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]

    def ended():
        seen = states.describe_execution(executionArn=execution)
        return seen if seen["status"] != "RUNNING" else None

    return until(ended, "the playbook ends"), execution.rsplit(":", 1)[1]


def test_the_playbook_for_step_functions_revokes_and_fails_where_a_person_has_to_decide(cloud):
    subject = "uma.fall@example.com"
    cloud.vpn.connect(subject)
    machine = playbook(cloud)
    seen, name = play(cloud, machine, subjects=[subject], reason="INC-6", requested_by="soc")
    assert seen["status"] == "SUCCEEDED", seen
    assert revoked(cloud, subject, name)
    cloud.vpn.connect("break-glass-2")
    seen, _ = play(cloud, machine, subjects=["break-glass-2"], reason="INC-7", requested_by="soc")
    assert (seen["status"], seen["error"]) == ("FAILED", "NotVerified")
    assert cloud.vpn.alive("break-glass-2")


def test_the_playbook_tries_again_while_something_is_left(cloud):
    subject = "val.noor@example.com"
    cloud.vpn.connect(subject)
    cloud.vpn.control("POST", "faults", NOT_ALLOWED | {"always": True})
    machine = playbook(cloud)
    states = cloud.client("stepfunctions")
    given = json.dumps({"subjects": [subject], "reason": "INC-9", "requested_by": "soc"})
    execution = states.start_execution(stateMachineArn=machine, input=given)["executionArn"]
    name = execution.rsplit(":", 1)[1]
    try:
        until(lambda: "incomplete" in cloud.kinds(subject, name), "the first attempt is incomplete")
    finally:
        cloud.vpn.control("DELETE", "faults")
    until(lambda: states.describe_execution(executionArn=execution)["status"] == "SUCCEEDED", "it succeeds after all")
    assert revoked(cloud, subject, name)


def test_what_the_operations_page_types_works(cloud):
    """Its shell functions, run by a shell and the AWS CLI."""
    page = (ROOT / "docs" / "operations.md").read_text()
    functions = re.search(r"## Tools for this page\n.*?```sh\n(.+?)```", page, re.S).group(1)
    # The CLI here is version 1, which takes a payload as it is and does not know the option.
    functions = functions.replace("--cli-binary-format raw-in-base64-out", "")
    script = functions + """
set -ex
revoker '{"action":"revoke","subjects":["Ona.Berg@example.com"],"reason":"INC-10","id":"INC-10"}' | grep -q '"outcome": *"completed"'
trail 'ona.berg@example.com' | grep -q '"completed"'
recent completed | grep -q 'ona.berg@example.com'
test "$(output AuditTable)" = "$AUDIT"
"""
    aws = {
        "AWS_ENDPOINT_URL": cloud.url,
        "AWS_ACCESS_KEY_ID": ACCOUNT,
        "AWS_SECRET_ACCESS_KEY": "emulated",
        "AWS_DEFAULT_REGION": REGION,
        "AUDIT": cloud.ids["AuditTable"],
    }
    done = subprocess.run(["bash", "-c", script], env=os.environ | aws, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
