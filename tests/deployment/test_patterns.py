"""The rules let through whatever an intake rule could ask for, and nothing of another producer."""

import json

import pytest

from template import ROOT, SOURCE

# The events that each rule has to let through stand in the folder of samples; `None` counts all of a producer's.
RULES = {
    "CommandsRule": "command",
    "OktaRule": "okta",
    "Auth0Rule": "auth0",
    "OneLoginRule": "onelogin",
    "IdentityCenterRule": "identity-center",
    "GuardDutyRule": "guardduty",
}
HEARD = {"OktaHeard": "okta", "Auth0Heard": "auth0", "OneLoginHeard": "onelogin", "IdentityCenterHeard": "identity-center"}


def samples(folder):
    """Events as EventBridge would bring them, each with what it must become."""
    for path in sorted((ROOT / "events" / folder).glob("*eventbridge.json")):
        expected = json.loads(path.with_suffix("").with_suffix(".expected.json").read_text())
        yield path.name, json.loads(path.read_text()), expected


def may_count(expected):
    """Whether it becomes a signal, or would if a rule were switched on."""
    return bool(expected if isinstance(expected, list) else expected.get("if_on"))


def pattern(rule):
    return SOURCE["Resources"][rule]["Properties"]["EventPattern"]


def matches(cloud, pattern, event):
    event = {"account": "111122223333", "region": "eu-west-1", "resources": []} | event
    answer = cloud.client("events").test_event_pattern(EventPattern=json.dumps(pattern), Event=json.dumps(event))
    return answer["Result"]


@pytest.mark.parametrize("rule", RULES)
def test_what_may_count_comes_through(cloud, rule):
    counting = [(name, event) for name, event, expected in samples(RULES[rule]) if may_count(expected)]
    assert counting, "no sample to hold the rule to"
    for name, event in counting:
        assert matches(cloud, pattern(rule), event), f"{rule} keeps out {RULES[rule]}/{name}"


@pytest.mark.parametrize("rule", ["IdentityCenterRule", "IdentityCenterHeard", "GuardDutyRule", "SecurityHubRule"])
def test_nobody_but_aws_can_put_what_a_rule_on_the_default_bus_takes(cloud, rule):
    taken = 0
    for folder in ("identity-center", "guardduty", "security-hub"):
        for name, event, _ in samples(folder):
            own = {key: value for key, value in pattern(rule).items() if key != "resources"}
            if matches(cloud, own, event):
                taken += 1
                assert not matches(cloud, own, event | {"source": "my.application"}), f"{rule} takes a forged {name}"
    assert taken


def test_something_is_saved(cloud):
    kept_out = [name for name, event, expected in samples("okta") if not matches(cloud, pattern("OktaRule"), event)]
    assert "session-end-eventbridge.json" in kept_out


@pytest.mark.parametrize("rule", [*RULES, *HEARD])
def test_nothing_of_another_producer_comes_through(cloud, rule):
    own = RULES.get(rule) or HEARD[rule]
    for folder in {*RULES.values(), "security-hub", "duo", "entra"} - {own}:
        for name, event, _ in samples(folder):
            assert not matches(cloud, pattern(rule), event), f"{rule} takes {folder}/{name}"


@pytest.mark.parametrize("rule", HEARD)
def test_all_of_a_producer_is_heard(cloud, rule):
    for name, event, _ in samples(HEARD[rule]):
        assert matches(cloud, pattern(rule), event), f"{rule} does not hear {HEARD[rule]}/{name}"


def test_one_custom_action_of_security_hub_revokes_and_no_other(cloud):
    (rule,) = [json.loads(json.dumps(pattern("SecurityHubRule")))]
    taken = 0
    for name, event, expected in samples("security-hub"):
        if not name.startswith("custom-action"):
            continue
        rule["resources"] = event["resources"]
        assert matches(cloud, rule, event) or not may_count(expected), name
        taken += 1
        rule["resources"] = ["arn:aws:securityhub:eu-west-1:111122223333:action/custom/OpenTicket"]
        assert not matches(cloud, rule, event), name
    assert taken


def test_news_of_the_trail_is_no_command(cloud):
    news = {"id": "1", "detail-type": "VPN Revoker Command", "source": "vpn-revoker.audit", "time": "2026-03-01T09:30:00Z", "detail": {}}
    assert not matches(cloud, pattern("CommandsRule"), news)
    assert matches(cloud, pattern("CommandsRule"), news | {"source": "vpn-revoker"})
