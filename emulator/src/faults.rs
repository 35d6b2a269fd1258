//! Things that go wrong on demand.

use crate::actions::Action;

/// One thing that goes wrong, for some of the requests of one action.
///
/// Every matching request counts towards [`after`](Self::after), whether or not the fault touches it. When several
/// faults are due for a request, the one that was injected first takes it.
#[derive(Debug, Clone)]
#[must_use = "a fault does nothing until it is injected"]
pub struct Fault {
    action: Action,
    endpoint_id: Option<String>,
    after: u64,
    times: Option<u64>,
    kind: FaultKind,
    seen: u64,
    fired: u64,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FaultKind {
    /// An error answer in the EC2 envelope; nothing else happens.
    Error { status: u16, code: String, message: String },
    /// A status without a body; nothing else happens.
    BareStatus(u16),
    /// The effect happens; the TCP connection is closed in place of an answer.
    LostAnswer,
    /// No effect and no answer, ever.
    Hang,
    /// The listing hands out the token that it was given.
    RepeatedToken,
    /// The connection stays alive, with this status message.
    FailedToTerminate(String),
    /// Rows that have not ended carry this status code.
    UnknownStatus(String),
    /// 200 with an empty list; the connections end all the same (`effect`) or not.
    EmptyStatuses { effect: bool },
}

impl FaultKind {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Error { .. } => "error",
            Self::BareStatus(_) => "bare-status",
            Self::LostAnswer => "lost-answer",
            Self::Hang => "hang",
            Self::RepeatedToken => "repeated-token",
            Self::FailedToTerminate(_) => "failed-to-terminate",
            Self::UnknownStatus(_) => "unknown-status",
            Self::EmptyStatuses { effect: true } => "empty-statuses",
            Self::EmptyStatuses { effect: false } => "ignored",
        }
    }

    /// A fault in an answer only makes sense for the action that gives such answers.
    pub(crate) fn applies_to(&self, action: Action) -> bool {
        match self {
            Self::Error { .. } | Self::BareStatus(_) | Self::LostAnswer | Self::Hang => true,
            Self::RepeatedToken => matches!(action, Action::DescribeEndpoints | Action::DescribeConnections),
            Self::UnknownStatus(_) => action == Action::DescribeConnections,
            Self::FailedToTerminate(_) | Self::EmptyStatuses { .. } => action == Action::Terminate,
        }
    }
}

impl Fault {
    /// A fault for requests of `action`: once, at the next request, a bare 503. The other methods change that.
    pub const fn on(action: Action) -> Self {
        Self {
            action,
            endpoint_id: None,
            after: 0,
            times: Some(1),
            kind: FaultKind::BareStatus(503),
            seen: 0,
            fired: 0,
        }
    }

    /// Touches `n` requests, then is spent.
    pub const fn times(mut self, n: u64) -> Self {
        self.times = Some(n);
        self
    }

    /// Touches every request.
    pub const fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Lets the first `n` matching requests pass.
    pub const fn after(mut self, n: u64) -> Self {
        self.after = n;
        self
    }

    /// Only requests that name this endpoint.
    pub fn endpoint(mut self, endpoint_id: impl Into<String>) -> Self {
        self.endpoint_id = Some(endpoint_id.into());
        self
    }

    /// An error answer with this HTTP status, code and message; the action has no effect.
    pub fn error(self, status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        self.kind(FaultKind::Error { status, code: code.into(), message: message.into() })
    }

    /// This HTTP status without a body, as a load balancer in trouble would send; the action has no effect.
    pub fn bare_status(self, status: u16) -> Self {
        self.kind(FaultKind::BareStatus(status))
    }

    /// The action takes effect, then the connection is closed without an answer.
    pub fn lost_answer(self) -> Self {
        self.kind(FaultKind::LostAnswer)
    }

    /// The request is never answered and has no effect.
    pub fn hang(self) -> Self {
        self.kind(FaultKind::Hang)
    }

    /// A listing returns the same `NextToken` again and again.
    pub fn repeated_token(self) -> Self {
        self.kind(FaultKind::RepeatedToken)
    }

    /// Terminate answers 200 with `failed-to-terminate` and this message; the connection lives on in that status.
    pub fn failed_to_terminate(self, message: impl Into<String>) -> Self {
        self.kind(FaultKind::FailedToTerminate(message.into()))
    }

    /// Rows that have not ended are listed with a status code that no documentation knows, such as `paused`.
    pub fn unknown_status(self, code: impl Into<String>) -> Self {
        self.kind(FaultKind::UnknownStatus(code.into()))
    }

    /// Terminate takes effect and answers 200 with an empty list of statuses.
    pub fn empty_statuses(self) -> Self {
        self.kind(FaultKind::EmptyStatuses { effect: true })
    }

    /// Terminate has no effect and answers 200 with an empty list of statuses.
    pub fn ignored(self) -> Self {
        self.kind(FaultKind::EmptyStatuses { effect: false })
    }

    pub(crate) fn kind(mut self, kind: FaultKind) -> Self {
        self.kind = kind;
        self
    }

    fn matches(&self, action: Action, endpoints: &[&str]) -> bool {
        self.action == action
            && self.kind.applies_to(action)
            && self.endpoint_id.as_deref().is_none_or(|wanted| endpoints.contains(&wanted))
    }

    fn is_due(&self) -> bool {
        self.seen > self.after && self.times.is_none_or(|times| self.fired < times)
    }
}

/// The faults of one emulator, in the order of injection.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Counts a request and says what goes wrong with it.
    pub(crate) fn next(&mut self, action: Action, endpoints: &[&str]) -> Option<FaultKind> {
        let mut taken = None;
        for fault in self.0.iter_mut().filter(|fault| fault.matches(action, endpoints)) {
            fault.seen += 1;
            if taken.is_none() && fault.is_due() {
                fault.fired += 1;
                taken = Some(fault.kind.clone());
            }
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(faults: Vec<Fault>, action: Action, requests: usize) -> Vec<Option<&'static str>> {
        let mut all = Faults::default();
        for fault in faults {
            all.add(fault);
        }
        (0..requests).map(|_| all.next(action, &["cvpn-endpoint-1"]).map(|kind| kind.name())).collect()
    }

    #[test]
    fn a_fault_happens_once_unless_told_otherwise() {
        assert_eq!(script(vec![Fault::on(Action::Terminate).hang()], Action::Terminate, 2), [Some("hang"), None]);
    }

    #[test]
    fn a_fault_waits_for_the_requests_it_lets_pass_and_ends_after_its_times() {
        let fault = Fault::on(Action::Terminate).after(1).times(2).bare_status(500);
        let bare = Some("bare-status");
        assert_eq!(script(vec![fault], Action::Terminate, 4), [None, bare, bare, None]);
    }

    #[test]
    fn faults_that_are_due_together_happen_in_the_order_of_injection() {
        let faults =
            vec![Fault::on(Action::Terminate).times(2).bare_status(503), Fault::on(Action::Terminate).lost_answer()];
        let bare = Some("bare-status");
        assert_eq!(script(faults, Action::Terminate, 4), [bare, bare, Some("lost-answer"), None]);
    }

    #[test]
    fn a_fault_keeps_to_its_action_and_its_endpoint() {
        assert_eq!(script(vec![Fault::on(Action::Terminate).always()], Action::DescribeConnections, 1), [None]);
        let elsewhere = Fault::on(Action::Terminate).always().endpoint("cvpn-endpoint-2");
        assert_eq!(script(vec![elsewhere], Action::Terminate, 1), [None]);
        let here = Fault::on(Action::Terminate).always().endpoint("cvpn-endpoint-1").hang();
        assert_eq!(script(vec![here], Action::Terminate, 1), [Some("hang")]);
    }

    #[test]
    fn a_fault_that_makes_no_sense_for_its_action_never_happens() {
        for action in [Action::Terminate, Action::ModifyEndpoint] {
            assert_eq!(script(vec![Fault::on(action).repeated_token()], action, 1), [None]);
        }
        let modify = Action::ModifyEndpoint;
        assert_eq!(script(vec![Fault::on(modify).failed_to_terminate("no")], modify, 1), [None]);
        let listing = Action::DescribeConnections;
        assert_eq!(script(vec![Fault::on(listing).empty_statuses()], listing, 1), [None]);
    }
}
