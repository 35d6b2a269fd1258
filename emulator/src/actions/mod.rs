//! The four actions, one file each.

mod describe_connections;
mod describe_endpoints;
mod modify_endpoint;
mod terminate;

use std::fmt;

use crate::faults::FaultKind;
use crate::protocol::error::ApiError;
use crate::protocol::query::Query;
use crate::state::{Endpoint, Shared, World};

/// What can be asked of the emulated service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// `DescribeClientVpnEndpoints`.
    DescribeEndpoints,
    /// `DescribeClientVpnConnections`.
    DescribeConnections,
    /// `TerminateClientVpnConnections`.
    Terminate,
    /// `ModifyClientVpnEndpoint`, for the client connect options.
    ModifyEndpoint,
}

impl Action {
    const ALL: [Self; 4] = [Self::DescribeEndpoints, Self::DescribeConnections, Self::Terminate, Self::ModifyEndpoint];

    /// The name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::DescribeEndpoints => "DescribeClientVpnEndpoints",
            Self::DescribeConnections => "DescribeClientVpnConnections",
            Self::Terminate => "TerminateClientVpnConnections",
            Self::ModifyEndpoint => "ModifyClientVpnEndpoint",
        }
    }

    /// The action of that name on the wire.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl AsRef<str> for Action {
    fn as_ref(&self) -> &str {
        self.name()
    }
}

/// One request on its way through an action.
pub(crate) struct Call<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) query: &'a Query,
    pub(crate) request_id: &'a str,
    pub(crate) now: i64,
    /// Faults that change what an action does or answers; all others are dealt with by the server.
    pub(crate) fault: Option<&'a FaultKind>,
}

impl Call<'_> {
    /// Carries the action out and writes the answer.
    pub(crate) fn run(&self, action: Action) -> Result<Vec<u8>, ApiError> {
        match action {
            Action::DescribeEndpoints => describe_endpoints::run(self),
            Action::DescribeConnections => describe_connections::run(self),
            Action::Terminate => terminate::run(self),
            Action::ModifyEndpoint => modify_endpoint::run(self),
        }
    }

    /// Permission comes before existence, so that nobody can find out what exists; a dry run ends here: "checks
    /// whether you have the required permissions for the action, without actually making the request".
    fn permit(&self, action: Action, world: &World) -> Result<(), ApiError> {
        if world.denied.contains(&action) {
            return Err(ApiError::unauthorized(action, &self.shared.settings.account));
        }
        if self.query.dry_run()? { Err(ApiError::dry_run()) } else { Ok(()) }
    }
}

/// The endpoint, if it exists and has a target network: without one there is nothing to list or to end.
fn associated<'w>(world: &'w World, id: &str) -> Result<&'w Endpoint, ApiError> {
    let endpoint = world.endpoints.get(id).ok_or_else(|| ApiError::endpoint_not_found(id))?;
    if endpoint.about.associated { Ok(endpoint) } else { Err(ApiError::no_association(id)) }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;
    use crate::state::{Knock, NewConnection, Settings};

    /// One endpoint (`cvpn-endpoint-1`) on a clock that stands still, asked without any HTTP.
    pub(crate) struct Bench {
        pub(crate) shared: Shared,
        pub(crate) clock: Arc<ManualClock>,
    }

    impl Bench {
        pub(crate) fn new(change: impl FnOnce(&mut Settings)) -> Self {
            let clock = Arc::new(ManualClock::default());
            let mut settings = Settings { terminate_delay: std::time::Duration::from_secs(10), ..Settings::default() };
            change(&mut settings);
            let shared = Shared::new(settings, Arc::clone(&clock) as Arc<dyn crate::Clock>);
            shared.lock().add_endpoint(crate::NewEndpoint::new("cvpn-endpoint-1"), shared.now());
            Self { shared, clock }
        }

        pub(crate) fn connect(&self, client: NewConnection) -> String {
            let knock = Knock { at: self.shared.now(), endpoint_id: "cvpn-endpoint-1".into(), client };
            self.shared.admit(&knock).unwrap()
        }

        pub(crate) fn ask(&self, action: Action, parameters: &str) -> Result<String, ApiError> {
            self.ask_with(action, parameters, None)
        }

        pub(crate) fn ask_with(
            &self,
            action: Action,
            parameters: &str,
            fault: Option<&FaultKind>,
        ) -> Result<String, ApiError> {
            let query = Query::parse("Version=2016-11-15", parameters.as_bytes());
            let now = self.shared.settle();
            let call = Call { shared: &self.shared, query: &query, request_id: "r", now, fault };
            call.run(action).map(|body| String::from_utf8(body).unwrap())
        }

        pub(crate) fn code(&self, action: Action, parameters: &str) -> String {
            self.ask(action, parameters).unwrap_err().code
        }
    }

    /// The texts of all elements of that name.
    pub(crate) fn texts<'x>(xml: &'x str, name: &str) -> Vec<&'x str> {
        let (open, close) = (format!("<{name}>"), format!("</{name}>"));
        xml.split(&open).skip(1).map(|rest| rest.split(&close).next().unwrap()).collect()
    }

    #[test]
    fn every_action_is_known_by_its_name_on_the_wire() {
        for action in Action::ALL {
            assert_eq!(Action::from_name(action.as_ref()), Some(action));
        }
        assert_eq!(Action::from_name("describeclientvpnconnections"), None);
    }

    #[test]
    fn a_missing_permission_shows_before_a_dry_run_and_before_existence() {
        let bench = Bench::new(|_| {});
        let missing = "ClientVpnEndpointId=cvpn-endpoint-9";
        let dry = format!("{missing}&DryRun=true");
        let listing = Action::DescribeConnections;
        assert_eq!(bench.code(listing, missing), "InvalidClientVpnEndpointId.NotFound");
        let dry_run = bench.ask(listing, &dry).unwrap_err();
        assert_eq!((dry_run.status, dry_run.code.as_str()), (412, "DryRunOperation"));
        assert_eq!(dry_run.message, "Request would have succeeded, but DryRun flag is set.");
        bench.shared.lock().denied.insert(listing);
        let denied = bench.ask(listing, &dry).unwrap_err();
        assert_eq!((denied.status, denied.code.as_str()), (403, "UnauthorizedOperation"));
        assert_eq!(bench.code(Action::Terminate, &format!("{dry}&Username=a")), "DryRunOperation");
    }

    #[test]
    fn an_endpoint_without_association_has_nothing_to_list_or_to_end() {
        let bench = Bench::new(|_| {});
        bench.shared.lock().add_endpoint(crate::NewEndpoint::new("cvpn-endpoint-2").without_association(), 0);
        let code = "InvalidClientVpnActiveAssociationNotFound";
        let endpoint = "ClientVpnEndpointId=cvpn-endpoint-2";
        assert_eq!(bench.code(Action::DescribeConnections, endpoint), code);
        assert_eq!(bench.code(Action::Terminate, &format!("{endpoint}&Username=a")), code);
        assert!(bench.ask(Action::DescribeEndpoints, "").unwrap().contains("pending-associate"));
    }
}
