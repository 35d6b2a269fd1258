//! <https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_TerminateClientVpnConnections.html>

use super::{Action, Call, associated};
use crate::clock::millis;
use crate::faults::FaultKind;
use crate::protocol::error::ApiError;
use crate::protocol::xml::{Elements, answer};
use crate::state::{Status, World};

const ACTION: Action = Action::Terminate;
const PARAMETERS: [&str; 4] = ["ClientVpnEndpointId", "ConnectionId", "DryRun", "Username"];

/// "This option can only be used if the user has established up to five connections."
const MOST_BY_USER: usize = 5;

/// Whom to disconnect.
enum Target<'q> {
    Connection(&'q str),
    User(&'q str),
}

/// What became of one connection.
struct Outcome {
    id: String,
    previous: Status,
    current: Status,
    message: Option<String>,
}

pub(super) fn run(call: &Call<'_>) -> Result<Vec<u8>, ApiError> {
    call.query.check(&PARAMETERS)?;
    let endpoint_id = call.query.required("ClientVpnEndpointId")?;
    let target = match (call.query.get("ConnectionId"), call.query.get("Username")) {
        (Some(id), None) => Target::Connection(id),
        (None, Some(user)) => Target::User(user),
        // What AWS does with neither or both is undocumented; these are its codes for such mistakes elsewhere.
        (None, None) => return Err(ApiError::missing_either("ConnectionId", "Username")),
        (Some(_), Some(_)) => return Err(ApiError::both("ConnectionId", "Username")),
    };

    let mut world = call.shared.lock();
    call.permit(ACTION, &world)?;
    associated(&world, endpoint_id)?;
    let chosen = choose(&world, endpoint_id, &target, call.now)?;
    let outcomes: Vec<Outcome> = match call.fault {
        Some(FaultKind::EmptyStatuses { effect: false }) => Vec::new(),
        _ => chosen.into_iter().map(|(id, previous)| end(call, &mut world, id, previous)).collect(),
    };
    let shown = if matches!(call.fault, Some(FaultKind::EmptyStatuses { .. })) { Vec::new() } else { outcomes };

    answer(ACTION, call.request_id, |xml| {
        xml.text("clientVpnEndpointId", endpoint_id)?;
        if let Target::User(user) = target {
            xml.text("username", user)?;
        }
        xml.list("connectionStatuses", &shown, |xml, outcome| {
            xml.text("connectionId", &outcome.id)?;
            xml.nest("previousStatus", |xml| xml.text("code", outcome.previous.code()))?;
            xml.nest("currentStatus", |xml| {
                xml.text("code", outcome.current.code())?;
                xml.maybe("message", outcome.message.as_deref())
            })
        })
    })
}

/// The connections in question, with the status they have. All or nothing: no connection has been touched when this
/// refuses.
fn choose(world: &World, endpoint_id: &str, target: &Target<'_>, now: i64) -> Result<Vec<(String, Status)>, ApiError> {
    let mut here = world.connections.iter().filter(|connection| connection.endpoint_id == endpoint_id);
    match *target {
        Target::Connection(id) => {
            // Whether AWS still knows a connection that left the listing is undocumented; here it does not.
            let found = here.find(|connection| connection.id == id && connection.is_known(now));
            let connection = found.ok_or_else(|| ApiError::connection_not_found(id))?;
            Ok(vec![(connection.id.clone(), connection.status(now))])
        }
        Target::User(user) => {
            let alive: Vec<_> = here
                .filter(|connection| connection.client.username.as_deref() == Some(user))
                .map(|connection| (connection.id.clone(), connection.status(now)))
                .filter(|(_, status)| status.is_alive())
                .collect();
            match alive.len() {
                0 => Err(ApiError::user_not_found(endpoint_id, user)),
                // Undocumented: whether connections that have ended count towards the five. Here they do not.
                1..=MOST_BY_USER => Ok(alive),
                _ => Err(ApiError::terminate_limit(MOST_BY_USER)),
            }
        }
    }
}

fn end(call: &Call<'_>, world: &mut World, id: String, previous: Status) -> Outcome {
    // Undocumented: what AWS says about a connection that is ending or has ended. Here it says so, and changes nothing.
    if !previous.is_alive() {
        return Outcome { id, previous, current: previous, message: None };
    }
    if let Some(FaultKind::FailedToTerminate(message)) = call.fault {
        world.fail_to_end(&id, call.now, message);
        return Outcome { id, previous, current: Status::FailedToTerminate, message: Some(message.clone()) };
    }
    let ended_at = call.now.saturating_add(millis(call.shared.settings.terminate_delay));
    world.end(&id, call.now, ended_at);
    Outcome { id, previous, current: Status::Terminating, message: None }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::{Bench, texts};
    use super::*;
    use crate::state::NewConnection;

    fn end(bench: &Bench, target: &str) -> Result<String, ApiError> {
        bench.ask(ACTION, &format!("ClientVpnEndpointId=cvpn-endpoint-1&{target}"))
    }

    fn code(bench: &Bench, target: &str) -> String {
        end(bench, target).unwrap_err().code
    }

    fn statuses(bench: &Bench) -> Vec<Status> {
        let now = bench.shared.settle();
        bench.shared.lock().connections.iter().map(|connection| connection.status(now)).collect()
    }

    #[test]
    fn a_connection_goes_from_active_over_terminating_to_terminated() {
        let bench = Bench::new(|_| {});
        let id = bench.connect(NewConnection::user("alice"));
        let body = end(&bench, &format!("ConnectionId={id}")).unwrap();
        assert_eq!(texts(&body, "code"), ["active", "terminating"]);
        assert!(!body.contains("<username>"));
        assert_eq!(statuses(&bench), [Status::Terminating]);
        bench.clock.advance(Duration::from_secs(10));
        assert_eq!(statuses(&bench), [Status::Terminated]);
    }

    #[test]
    fn ending_it_again_says_what_it_is_and_changes_nothing() {
        let bench = Bench::new(|_| {});
        let id = bench.connect(NewConnection::user("alice"));
        let target = format!("ConnectionId={id}");
        end(&bench, &target).unwrap();
        bench.clock.advance(Duration::from_secs(9));
        assert_eq!(texts(&end(&bench, &target).unwrap(), "code"), ["terminating", "terminating"]);
        bench.clock.advance(Duration::from_secs(1));
        assert_eq!(texts(&end(&bench, &target).unwrap(), "code"), ["terminated", "terminated"]);
        bench.clock.advance(Duration::from_secs(3_601));
        assert_eq!(code(&bench, &target), "InvalidClientVpnConnection.IdNotFound");
    }

    #[test]
    fn a_user_is_matched_exactly_and_only_where_active() {
        let bench = Bench::new(|_| {});
        for user in ["alice", "Alice", "alice2", "alice"] {
            bench.connect(NewConnection::user(user));
        }
        bench.connect(NewConnection::certificate("alice"));
        let body = end(&bench, "Username=alice").unwrap();
        assert_eq!(texts(&body, "username"), ["alice"]);
        assert_eq!(texts(&body, "connectionId").len(), 2);
        let (gone, alive) = (Status::Terminating, Status::Active);
        assert_eq!(statuses(&bench), [gone, alive, alive, gone, alive]);
        assert_eq!(code(&bench, "Username=alice"), "InvalidClientVpnConnection.UserNotFound");
    }

    #[test]
    fn a_user_with_more_than_five_connections_keeps_them_all() {
        let bench = Bench::new(|_| {});
        let ids: Vec<_> = (0..6).map(|_| bench.connect(NewConnection::user("alice"))).collect();
        assert_eq!(code(&bench, "Username=alice"), "ClientVpnTerminateConnectionsLimitExceeded");
        assert_eq!(statuses(&bench), [Status::Active; 6]);
        end(&bench, &format!("ConnectionId={}", ids[0])).unwrap();
        assert_eq!(texts(&end(&bench, "Username=alice").unwrap(), "connectionId").len(), 5);
    }

    #[test]
    fn odd_requests_are_refused() {
        let bench = Bench::new(|_| {});
        assert_eq!(code(&bench, ""), "MissingParameter");
        assert_eq!(code(&bench, "Username=&ConnectionId="), "MissingParameter");
        assert_eq!(code(&bench, "Username=a&ConnectionId=b"), "InvalidParameterCombination");
        assert_eq!(code(&bench, "ConnectionId=b"), "InvalidClientVpnConnection.IdNotFound");
        assert_eq!(code(&bench, "ConnectionId.1=b"), "UnknownParameter");
        assert_eq!(bench.code(ACTION, "Username=a"), "MissingParameter");
    }

    #[test]
    fn a_connection_of_another_endpoint_is_unknown() {
        let bench = Bench::new(|_| {});
        let id = bench.connect(NewConnection::user("alice"));
        bench.shared.lock().add_endpoint(crate::NewEndpoint::new("cvpn-endpoint-2"), 0);
        let elsewhere = format!("ClientVpnEndpointId=cvpn-endpoint-2&ConnectionId={id}");
        assert_eq!(bench.code(ACTION, &elsewhere), "InvalidClientVpnConnection.IdNotFound");
    }

    #[test]
    fn a_failed_termination_leaves_the_connection_alive_and_can_be_tried_again() {
        let bench = Bench::new(|_| {});
        bench.connect(NewConnection::user("alice"));
        let target = "ClientVpnEndpointId=cvpn-endpoint-1&Username=alice";
        let fault = FaultKind::FailedToTerminate("try later".into());
        let body = bench.ask_with(ACTION, target, Some(&fault)).unwrap();
        assert_eq!(texts(&body, "code"), ["active", "failed-to-terminate"]);
        assert_eq!(texts(&body, "message"), ["try later"]);
        assert_eq!(statuses(&bench), [Status::FailedToTerminate]);
        assert_eq!(texts(&bench.ask(ACTION, target).unwrap(), "code"), ["failed-to-terminate", "terminating"]);
    }

    #[test]
    fn an_empty_answer_hides_the_effect_or_the_lack_of_it() {
        let bench = Bench::new(|_| {});
        bench.connect(NewConnection::user("alice"));
        let target = "ClientVpnEndpointId=cvpn-endpoint-1&Username=alice";
        for (effect, status) in [(false, Status::Active), (true, Status::Terminating)] {
            let fault = FaultKind::EmptyStatuses { effect };
            let body = bench.ask_with(ACTION, target, Some(&fault)).unwrap();
            assert!(texts(&body, "connectionId").is_empty());
            assert_eq!(statuses(&bench), [status]);
        }
    }
}
