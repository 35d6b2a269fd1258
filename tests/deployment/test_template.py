"""What can be held of the templates without deploying them."""

import json
import re

import pytest

from template import ROOT, SOURCE, TARGET, chosen, of_type, statements

TEMPLATES = pytest.mark.parametrize("template", [SOURCE, TARGET], ids=["template.yaml", "target.yaml"])

# For each parameter, what somebody may well get wrong, and what must go through.
EXAMPLES = {
    "Mode": (["Shadow", "off", ""], ["enforce"]),
    "AlarmEmail": (["security", "a@b", "a b@example.com"], ["security@example.com"]),
    "Protected": (["*", "ceo@example.com,*", "ceo@example.com, *", " * ", "**", "* *", "a,,b", ",a", "a" * 2000], ["breakglass*,ceo@example.com", "a, b", "*@example.com"]),
    "Endpoints": (["all", "cvpn-endpoint-1", "cvpn-endpoint-0123456789abcdef0, cvpn-endpoint-0123456789abcdef1"], ["cvpn-endpoint-0123456789abcdef0,cvpn-endpoint-0123456789abcdef1"]),
    "Aliases": (["{local}", "corp.example"], ["corp.example: {subject} {local} CORP\\{local}; *: {subject}"]),
    "IdentityStoreId": (["ssoins-1234567890abcdef", "d-123"], ["d-1234567890"]),
    "IdentityStoreRegion": (["Ireland", "eu-west-1a"], ["eu-west-1", "us-gov-west-1"]),
    "SweepDirectory": (["-1", "501"], ["25"]),
    "OktaEventBus": (["default", "okta", "aws.partner/auth0.com/x"], ["aws.partner/okta.com/example-corp/system-log"]),
    "Auth0EventBus": (["default", "aws.partner/okta.com/x"], ["aws.partner/auth0.com/example-0123/auth0.logs"]),
    "OneLoginEventBus": (["default", "onelogin.com/US-1/x"], ["aws.partner/onelogin.com/US-123456/0123abcd"]),
    "IdentityCenter": (["true", "Yes"], ["yes"]),
    "GuardDuty": (["true", "Yes"], ["yes"]),
    "SecurityHubActionArn": (["RevokeVpn"], ["arn:aws:securityhub:eu-west-1:111122223333:action/custom/RevokeVpn"]),
    "RelayRoles": (["*", "relay", "111122223333", "arn:aws:iam::111122223333:root"], ["arn:aws:iam::111122223333:role/relay,arn:aws:iam::444455556666:role/path/other"]),
    "RedriveRoles": (["*", "on-call"], ["arn:aws:iam::111122223333:role/security-on-call"]),
    "ExtraRuleArns": (["cognito"], ["arn:aws:events:eu-west-1:111122223333:rule/cognito,arn:aws:events:eu-west-1:111122223333:rule/bus/x"]),
    "CommandSenders": (["*", "111122223333", "arn:aws:iam::111122223333:user/jane"], ["arn:aws:iam::111122223333:role/playbook"]),
    "EventCommands": (["", "all", "revoke, disconnect", "sync_directory"], ["revoke", "revoke,restore"]),
    "SilenceHours": (["0", "169"], ["24"]),
    "MaxSubjects": (["0"], ["50"]),
    "MaxConnections": (["0"], ["25"]),
    "SettleSeconds": (["-1", "61"], ["10"]),
    "VerifySeconds": (["0", "91"], ["60"]),
    "SweepMinutes": (["0", "3", "60"], ["5"]),
    "OnError": (["permit", "Deny"], ["allow"]),
    "DenyMessage": (["a\nb", "a\tb", "@home", "x" * 256], ["Please call the help desk.", "jane@example.com helps"]),
    "HandlerReservedConcurrency": (["-1", "1001"], ["10"]),
    "HandlerProvisionedConcurrency": (["-1", "1001"], ["2"]),
    "Targets": (["eu-west-1", "[]", '{"region":"eu-west-1"}'], ['[{"region":"eu-west-1"}]', "@/opt/targets.json"]),
    "TargetRoles": (["*", "vpn-revoker-target"], ["arn:aws:iam::444455556666:role/vpn-revoker-target"]),
    "HandlerAccounts": (["4444", "444455556666, 777788889999"], ["444455556666,777788889999"]),
    "TablesKeyArn": (["alias/vpn", "arn:aws:kms:eu-west-1:111122223333:alias/vpn"], ["arn:aws:kms:eu-west-1:111122223333:key/01234567-89ab-cdef-0123-456789abcdef", "arn:aws:kms:eu-west-1:111122223333:key/mrk-0123456789abcdef0123456789abcdef"]),
    "AuditTopic": (["yes"], ["decisions"]),
    "AuditTopicSubscribers": (["*"], ["444455556666"]),
    "ArchiveDays": (["-1", "3651"], ["400"]),
    "Architecture": (["arm", "amd64"], ["arm64"]),
    "QueueConcurrency": (["1", "51"], ["5"]),
    "ConfigurationLayer": (["arn:aws:lambda:eu-west-1:111122223333:layer:vpn-revoker"], ["arn:aws:lambda:eu-west-1:111122223333:layer:vpn-revoker:3"]),
    "RulesFile": (["rules.json", "/var/task/rules.json"], ["/opt/rules.json"]),
    "LogRetentionDays": (["2", "100"], ["90"]),
    "PermissionsBoundary": (["boundary"], ["arn:aws:iam::111122223333:policy/boundary", "arn:aws:iam::aws:policy/PowerUserAccess"]),
    "HomeRoleArn": (["", "111122223333", "arn:aws:iam::111122223333:root"], ["arn:aws:iam::111122223333:role/vpn-revoker-RevokerRole-ABC"]),
    "ExternalId": (["", "short", "with spaces in it"], ["5f0c2a1e-0d51-11f1-8c1e-0123456789ab"]),
    "RoleName": (["", "a/b"], ["vpn-revoker-target"]),
    "RoleRegion": (["Ireland"], ["eu-west-1"]),
    "HandlerBucket": (["s3://bucket"], ["example-artifacts"]),
    "BucketPerRegion": (["true"], ["yes"]),
    "HandlerName": (["vpn-handler", "AWSClientVPN-" + "x" * 52], ["AWSClientVPN-vpn-revoker"]),
    "HandlerKey": ([""], ["releases/connect-handler-x86_64.zip"]),
    "LocksTableArn": (["locks"], ["arn:aws:dynamodb:eu-west-1:111122223333:table/locks"]),
    "AuditTableArn": (["audit"], ["arn:aws:dynamodb:eu-west-1:111122223333:table/audit"]),
    "ReservedConcurrency": (["-1", "1001"], ["10"]),
    "AlarmTopicArn": (["alarms"], ["arn:aws:sns:eu-west-1:111122223333:alarms"]),
}


def admits(parameter, value):
    """Whether CloudFormation takes a value, by everything that a parameter may demand."""
    if "AllowedValues" in parameter and value not in map(str, parameter["AllowedValues"]):
        return False
    if "AllowedPattern" in parameter and not re.fullmatch(parameter["AllowedPattern"], value):
        return False
    if parameter["Type"] == "Number":
        return parameter.get("MinValue", float(value)) <= float(value) <= parameter.get("MaxValue", float(value))
    return parameter.get("MinLength", 0) <= len(value) <= parameter.get("MaxLength", 4096)


@TEMPLATES
def test_a_wrong_parameter_fails_with_a_sentence_that_helps(template):
    for name, parameter in template["Parameters"].items():
        wrong, right = EXAMPLES[name]
        for value in wrong:
            assert not admits(parameter, value), f"{name} takes {value!r}"
        for value in right:
            assert admits(parameter, value), f"{name} refuses {value!r}"
        assert parameter["ConstraintDescription"].startswith(name), name
        assert parameter["ConstraintDescription"].endswith((".", "empty", "…", "/-", "+=.@_-")), name
        assert len(parameter["Description"]) > 15, name
        if "Default" in parameter:
            assert admits(parameter, str(parameter["Default"])), f"{name}'s own default"


@TEMPLATES
def test_every_parameter_stands_in_a_group(template):
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    grouped = [name for group in groups for name in group["Parameters"]]
    assert sorted(grouped) == sorted(template["Parameters"])


def test_it_starts_in_shadow():
    assert SOURCE["Parameters"]["Mode"]["Default"] == TARGET["Parameters"]["Mode"]["Default"] == "shadow"


def holds(condition, values):
    """A condition or an assertion of a rule, for values of parameters."""
    ((function, arguments),) = condition.items()
    match function:
        case "Fn::Equals":
            left, right = (values[side["Ref"]] if isinstance(side, dict) else side for side in arguments)
            return left == right
        case "Fn::Not":
            return not holds(arguments[0], values)
        case "Fn::And":
            return all(holds(argument, values) for argument in arguments)
    raise AssertionError(f"{function} is new to this test")


def complaints(template, **given):
    values = {name: str(parameter.get("Default", "")) for name, parameter in template["Parameters"].items()} | given
    return [
        assertion["AssertDescription"]
        for rule in template["Rules"].values()
        if holds(rule["RuleCondition"], values)
        for assertion in rule["Assertions"]
        if not holds(assertion["Assert"], values)
    ]


def test_parameters_that_need_each_other_say_so():
    assert complaints(SOURCE) == complaints(TARGET) == []
    assert complaints(SOURCE, IdentityCenter="yes", IdentityStoreId="d-1234567890") == []
    for given, needed in (
        ({"IdentityCenter": "yes"}, "IdentityStoreId"),
        ({"SweepDirectory": "5"}, "IdentityStoreId"),
        ({"TargetRoles": "arn"}, "Targets"),
        ({"RulesFile": "/opt/rules.json"}, "ConfigurationLayer"),
    ):
        (complaint,) = complaints(SOURCE, **given)
        assert needed in complaint
    (complaint,) = complaints(TARGET, HandlerBucket="artifacts", LocksTableArn="arn")
    assert "AuditTableArn" in complaint


def test_deleting_the_stack_keeps_both_tables():
    tables = of_type(SOURCE, "AWS::DynamoDB::Table")
    assert set(tables) == {"LocksTable", "AuditTable"}
    for table in [*tables.values(), SOURCE["Resources"]["Archive"]]:
        assert table["DeletionPolicy"] == table["UpdateReplacePolicy"] == "Retain"
    for table in tables.values():
        assert table["Properties"]["DeletionProtectionEnabled"] is True
        assert table["Properties"]["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"] is True
        # A name of its own would stand in the way of a stack that is made again beside the kept tables.
        assert "TableName" not in table["Properties"]


def test_only_what_carries_ttl_expires():
    assert SOURCE["Resources"]["LocksTable"]["Properties"]["TimeToLiveSpecification"]["AttributeName"] == "ttl"
    assert "TimeToLiveSpecification" not in SOURCE["Resources"]["AuditTable"]["Properties"]
    # Markers and the breaker's counts, and nothing else that is kept beside the locks.
    writers = {path.name for path in (ROOT / "src" / "dynamo").glob("*.rs") if '"ttl"' in path.read_text()}
    assert writers == {"audit.rs", "breaker.rs"}


def variables(template, function):
    return template["Resources"][function]["Properties"]["Environment"]["Variables"]


def test_every_setting_can_be_set():
    source = (ROOT / "src" / "environment.rs").read_text()
    known = re.search(r"const KNOWN: \[&str; \d+\] = \[(.+?)\];", source, re.S).group(1)
    known = {f"VPN_REVOKER_{name}" for name in re.findall(r'"(\w+)"', known)}
    assert set(variables(SOURCE, "Revoker")) | set(variables(SOURCE, "ConnectHandler")) == known
    assert set(variables(TARGET, "ConnectHandler")) == set(variables(SOURCE, "ConnectHandler"))


def test_the_template_admits_only_commands_that_the_function_knows():
    source = (ROOT / "revocation" / "src" / "signal.rs").read_text()
    known = re.search(r"const EVENT_COMMANDS: \[&str; \d+\] = \[(.+?)\];", source, re.S).group(1)
    pattern = SOURCE["Parameters"]["EventCommands"]["AllowedPattern"]
    assert set(re.search(r"\^\((.+?)\)", pattern).group(1).split("|")) == set(re.findall(r'"(\w+)"', known))


def longest(value):
    """How long the value of a variable may get."""
    parameter = SOURCE["Parameters"].get(value["Ref"])
    if parameter is None:
        return 200  # a table: the stack's name of at most 128 characters, the resource's, and some of chance
    if "AllowedValues" in parameter:
        return max(len(str(allowed)) for allowed in parameter["AllowedValues"])
    if parameter["Type"] == "Number":
        return len(str(parameter["MaxValue"]))
    return parameter["MaxLength"]


def test_lambda_takes_the_environment_and_the_description_of_the_version():
    for function in ("Revoker", "ConnectHandler"):
        total = sum(len(key) + longest(value) for key, value in variables(SOURCE, function).items())
        assert total < 4096, function  # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
    description = SOURCE["Resources"]["ConnectHandler"]["Properties"]["VersionDescription"]
    # The longest Region has 14 characters (us-gov-west-1 13), the longest partition 10, the name of the layer 30.
    layer = len("arn:aws-us-gov:lambda:ap-southeast-1:111122223333:layer::99999") + 30
    rest = re.sub(r"\$\{\w+\}", "", description["Fn::Sub"])
    parameters = SOURCE["Parameters"]
    total = len("enforce") + len("allow") + layer + parameters["Protected"]["MaxLength"] + len(rest)
    assert total <= 256  # https://docs.aws.amazon.com/lambda/latest/api/API_PublishVersion.html


def test_a_change_of_who_is_let_in_makes_a_new_version():
    description = SOURCE["Resources"]["ConnectHandler"]["Properties"]["VersionDescription"]["Fn::Sub"]
    for name in ("Mode", "OnError", "Protected", "ConfigurationLayer"):
        assert f"${{{name}}}" in description


def test_each_rule_retries_and_keeps_what_it_can_not_deliver():
    for name, rule in of_type(SOURCE, "AWS::Events::Rule").items():
        for target in rule["Properties"].get("Targets", []):
            assert "DeadLetterConfig" in target and "RetryPolicy" in target, name
        assert "Targets" in rule["Properties"] or name.endswith("Heard"), name


def rule_arns(value):
    return {(arn["Fn::If"][1] if "Fn::If" in arn else arn)["Fn::GetAtt"][0] for arn in value}


def rules_with(where):
    """The rules of which some target says this."""
    rules = of_type(SOURCE, "AWS::Events::Rule").items()
    return {name for name, rule in rules if any(map(where, rule["Properties"].get("Targets", [])))}


def split(parameter):
    return {"Fn::Split": [",", {"Ref": parameter}]}


def test_the_queue_admits_our_rules_and_named_relays_and_nobody_else():
    document = SOURCE["Resources"]["SignalsPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    by_name = {statement["Sid"]: statement for statement in chosen(document)}
    allows = {name for name, statement in by_name.items() if statement["Effect"] == "Allow"}
    assert allows == {"OurRules", "RulesOfYours", "NamedRelays"}
    to_queue = rules_with(lambda target: target["Arn"] == {"Fn::GetAtt": ["Signals", "Arn"]})
    assert rule_arns(by_name["OurRules"]["Condition"]["ArnEquals"]["aws:SourceArn"]) == to_queue
    assert by_name["RulesOfYours"]["Condition"] == {"ArnEquals": {"aws:SourceArn": split("ExtraRuleArns")}}
    assert by_name["NamedRelays"]["Condition"] == {"ArnEquals": {"aws:PrincipalArn": split("RelayRoles")}}
    nobody = by_name["NobodyElse"]
    assert (nobody["Effect"], nobody["Principal"], nobody["Action"]) == ("Deny", "*", "sqs:SendMessage")
    assert nobody["Condition"] == {
        "Bool": {"aws:PrincipalIsAWSService": "false"},
        "StringNotEqualsIfExists": {"aws:CalledViaLast": "sqs.amazonaws.com"},
        "ArnNotEquals": {"Fn::If": ["HasRelays", {"aws:PrincipalArn": split("RelayRoles")}, {"Ref": "AWS::NoValue"}]},
    }


def test_no_queue_can_be_reached_by_way_of_another():
    queues = of_type(SOURCE, "AWS::SQS::Queue")
    allowed = {name: queue["Properties"]["RedriveAllowPolicy"]["redrivePermission"] for name, queue in queues.items()}
    assert allowed == {"Signals": "denyAll", "DeadLetters": "byQueue", "DeadNews": "denyAll"}
    document = SOURCE["Resources"]["DeadLettersPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    by_name = {statement["Sid"]: statement for statement in chosen(document)}
    dead = {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}}
    assert rule_arns(by_name["OurRules"]["Condition"]["ArnEquals"]["aws:SourceArn"]) == rules_with(
        lambda target: target["DeadLetterConfig"] == dead
    )
    # Lambda sends what failed without the queue, in the function's name.
    revoker = SOURCE["Resources"]["Revoker"]["Properties"]
    assert revoker["DeadLetterQueue"] == {"Type": "SQS", "TargetArn": dead["Arn"]}
    (keeps,) = [s for s in statements(SOURCE, "RevokerRole") if s["Action"] == "sqs:SendMessage"]
    assert (revoker["Role"], keeps["Resource"]) == ({"Fn::GetAtt": ["RevokerRole", "Arn"]}, dead["Arn"])
    assert by_name["NobodyElse"]["Condition"] == {
        "Bool": {"aws:PrincipalIsAWSService": "false"},
        "ArnNotEquals": {"aws:PrincipalArn": {"Fn::GetAtt": ["RevokerRole", "Arn"]}},
    }


def test_the_bus_admits_named_senders_with_commands_and_the_pipe_with_news():
    document = SOURCE["Resources"]["Bus"]["Properties"]["Policy"]["Statement"]
    by_name = {statement["Sid"]: statement for statement in chosen(document)}
    assert {name for name, statement in by_name.items() if statement["Effect"] == "Allow"} == {"NamedSenders"}
    assert by_name["NamedSenders"]["Condition"] == {
        "StringEquals": {"events:source": "vpn-revoker", "events:detail-type": "VPN Revoker Command"},
        "ArnEquals": {"aws:PrincipalArn": split("CommandSenders")},
    }
    pipe = {"Fn::GetAtt": ["NewsPipeRole", "Arn"]}
    both = {"Fn::Split": [",", {"Fn::Sub": ["${Senders},${NewsPipeRole.Arn}", {"Senders": {"Ref": "CommandSenders"}}]}]}
    assert by_name["NobodyElse"]["Condition"] == {
        "ArnNotEquals": {"aws:PrincipalArn": {"Fn::If": ["HasSenders", both, pipe]}}
    }
    assert by_name["OnlyThePipeTellsOfTheTrail"]["Condition"] == {
        "StringNotEquals": {"events:source": "vpn-revoker"},
        "ArnNotEquals": {"aws:PrincipalArn": pipe},
    }
    for statement in by_name.values():
        assert (statement["Principal"], statement["Action"]) == ("*", "events:PutEvents")


def test_rules_on_the_default_bus_take_what_only_aws_can_put():
    for name, rule in of_type(SOURCE, "AWS::Events::Rule").items():
        properties = rule["Properties"]
        if "EventBusName" in properties or "ScheduleExpression" in properties:
            continue
        for source in properties["EventPattern"]["source"]:
            assert (source["prefix"] if isinstance(source, dict) else source).startswith("aws."), name


def test_okta_brings_exactly_what_an_intake_rule_can_ask_for():
    """More would ring as not understood; less would be missed."""
    table = json.loads((ROOT / "revocation" / "rules" / "okta.json").read_text())
    asked = {
        kind
        for rule in table["rules"]
        if rule["action"] != "ignore"
        for kind in rule["pattern"]["detail"].get("eventType", [])
    }
    assert set(SOURCE["Resources"]["OktaRule"]["Properties"]["EventPattern"]["detail"]["eventType"]) == asked


def test_what_client_vpn_may_invoke_is_named_as_it_asks():
    here, there = (t["Resources"]["ConnectHandler"]["Properties"]["FunctionName"] for t in (SOURCE, TARGET))
    assert here == {"Fn::Sub": "AWSClientVPN-${AWS::StackName}"}
    assert there == {"Ref": "HandlerName"}


def test_the_queue_waits_at_least_as_long_as_the_function():
    # https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-configure.html
    timeout = SOURCE["Resources"]["Revoker"]["Properties"]["Timeout"]
    assert SOURCE["Resources"]["Signals"]["Properties"]["VisibilityTimeout"] >= timeout
    assert SOURCE["Parameters"]["VerifySeconds"]["MaxValue"] + 8 < timeout
    kept = [SOURCE["Resources"][name]["Properties"]["MessageRetentionPeriod"] for name in ("Signals", "DeadLetters")]
    assert kept[0] < kept[1], "a dead letter keeps the age of its signal"


@TEMPLATES
def test_every_alarm_is_explained(template):
    page = (ROOT / "docs" / "operations.md").read_text()
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        words = alarm["Properties"]["AlarmName"]["Fn::Sub"].removeprefix("${AWS::StackName} ")
        section = re.search(rf"\n#### {re.escape(words)}\n\n(.+?)(?=\n#)", page, re.S)
        assert section and len(section.group(1)) > 40, f"docs/operations.md does not explain `{words}`, {name}"
        assert alarm["Properties"]["AlarmActions"], name


def test_every_refusal_is_explained():
    page = (ROOT / "docs" / "operations.md").read_text()
    source = (ROOT / "revocation" / "src" / "policy.rs").read_text()
    words = re.findall(r'Self::\w+[^=]*=> "([a-z-]+)"', source[source.index("impl Refusal") :])
    words += re.findall(r'The word for \[`Refusal::.*\n.*: &str = "([a-z-]+)"', source)
    assert len(words) >= 7
    for word in words:
        assert f"| `{word}` |" in page, word


def test_silence_rings_and_noise_alone_does_not():
    for name, alarm in of_type(SOURCE, "AWS::CloudWatch::Alarm").items():
        silent = name.endswith("SilentAlarm")
        assert alarm["Properties"]["TreatMissingData"] == ("breaching" if silent else "notBreaching"), name


def ours(alarm):
    """The metrics of ours that an alarm reads, each with its dimensions."""
    properties = alarm["Properties"]
    metrics = [entry["MetricStat"]["Metric"] for entry in properties.get("Metrics", []) if "MetricStat" in entry]
    for metric in [properties, *metrics]:
        if metric.get("Namespace") == "VpnRevoker":
            yield metric["MetricName"], {entry["Name"]: entry["Value"] for entry in metric["Dimensions"]}


@TEMPLATES
def test_every_metric_that_an_alarm_reads_is_written(template):
    sources = [*(ROOT / "src").rglob("*.rs"), *(ROOT / "revocation" / "src").rglob("*.rs")]
    written = "".join(path.read_text() for path in sources)
    for name, alarm in of_type(template, "AWS::CloudWatch::Alarm").items():
        for metric, dimensions in ours(alarm):
            function = dimensions.pop("Function")["Ref"]
            assert function in ("Revoker", "ConnectHandler"), name
            for word in [metric, *dimensions, *dimensions.values()]:
                assert f'"{word}"' in written, f"{name}: nothing writes {word}"


def test_the_dashboard_reads_what_is_written():
    body = SOURCE["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    json.loads(re.sub(r"\$\{[\w.:]+\}", "x", body))
    written = (ROOT / "src" / "metrics.rs").read_text()
    read = re.findall(r'"VpnRevoker", "(\w+)"', body) + re.findall(r'MetricName=\\"(\w+)\\"', body)
    assert len(read) >= 8
    for metric in read:
        assert f'"{metric}"' in written, metric


def test_nothing_may_be_done_to_everything():
    for template, roles in (
        (SOURCE, ["RevokerRole", "ConnectHandlerRole", "NewsPipeMay", "ArchivePipeMay", "ArchiveStreamMay", "RunbookRole"]),
        (TARGET, ["Role", "ConnectHandlerRole"]),
    ):
        for statement in statements(template, *roles):
            actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
            assert not any("*" in action for action in actions), statement
            if statement["Resource"] == "*":
                # Neither knows resources (Service Authorization Reference).
                assert set(actions) <= {"ec2:DescribeClientVpnEndpoints", "dynamodb:ListStreams"}, statement
