use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::connection::{EndpointId, Status, Target};
use crate::ports::{Ended, Which};

type Answer = Result<Page, VpnError>;

/// Client VPN that answers listings by the book, and with an empty last page once that is through.
struct Scripted(Target, Mutex<VecDeque<Answer>>);

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let target = Target { region: "eu-west-1".to_owned(), account: None };
        Self(target, Mutex::new(answers.into_iter().collect()))
    }
}

#[async_trait]
impl ClientVpn for Scripted {
    fn target(&self) -> &Target {
        &self.0
    }

    async fn endpoints(&self) -> Result<Vec<EndpointId>, VpnError> {
        Ok(Vec::new())
    }

    async fn connections(&self, _: &EndpointId, _: &[ConnectionId], _: Option<&PageToken>) -> Answer {
        self.1.lock().unwrap().pop_front().unwrap_or_else(|| Ok(Page::default()))
    }

    async fn terminate(&self, _: &EndpointId, _: &Which) -> Result<Vec<Ended>, VpnError> {
        Ok(Vec::new())
    }

    async fn may_terminate(&self, _: &EndpointId, _: &Which) -> Result<(), VpnError> {
        Ok(())
    }
}

fn endpoint() -> Endpoint {
    let target = Target { region: "eu-west-1".to_owned(), account: None };
    Endpoint { target: Arc::new(target), id: EndpointId::new("cvpn-endpoint-a") }
}

fn row(id: &str) -> Connection {
    let (username, common_name, established_at) = (Some("alice".to_owned()), None, None);
    Connection { id: ConnectionId::new(id), username, common_name, status: Status::Active, established_at }
}

fn page(id: &str, next: Option<&str>) -> Answer {
    Ok(Page { connections: vec![row(id)], next: next.map(|token| PageToken(token.to_owned())) })
}

fn failure(kind: VpnErrorKind) -> Answer {
    Err(VpnError { kind, code: None, message: format!("{kind:?}"), request_id: None })
}

/// What a listing task reports, in words.
async fn reported(answers: impl IntoIterator<Item = Answer>, only: &[ConnectionId]) -> Vec<String> {
    let (report, mut listed) = mpsc::channel(16);
    list(&Scripted::new(answers), 7, &endpoint(), only, &report).await;
    drop(report);
    let mut words = Vec::new();
    while let Some(one) = listed.recv().await {
        words.push(match one {
            Listed::Page { on: 7, rows, whole } => {
                let ids: Vec<&str> = rows.iter().map(|row| row.id.as_str()).collect();
                format!("{}{}", ids.join(" "), if whole { " is all" } else { "" })
            }
            Listed::Failed { on: 7, error } => format!("failed: {error}"),
            Listed::Done { on: 7 } => "done".to_owned(),
            _ => "another endpoint".to_owned(),
        });
    }
    words
}

#[tokio::test]
async fn only_a_single_page_of_everybody_is_the_whole_endpoint() {
    assert_eq!(reported([page("c-1", None)], &[]).await, ["c-1 is all", "done"]);
    assert_eq!(reported([page("c-1", Some("2")), page("c-2", None)], &[]).await, ["c-1", "c-2", "done"]);
    assert_eq!(reported([page("c-1", None)], &[ConnectionId::new("c-1")]).await, ["c-1", "done"]);
}

#[tokio::test]
async fn a_listing_that_names_a_page_twice_fails_instead_of_going_round() {
    let round = || [page("c-1", Some("2")), page("c-2", Some("3")), page("c-3", Some("2"))];
    let words = reported(round(), &[]).await;
    assert_eq!(words[..3], ["c-1", "c-2", "c-3"]);
    assert!(words.len() == 4 && words[3].contains("named the same page twice"), "{words:?}");
    let poll = all_pages(&Scripted::new(round()), &endpoint(), &[]).await;
    assert_eq!(poll.unwrap_err().kind, VpnErrorKind::EndlessListing);
}

#[tokio::test]
async fn only_an_endpoint_without_a_network_holds_no_session() {
    assert_eq!(reported([failure(VpnErrorKind::NoAssociation)], &[]).await, ["done"]);
    assert_eq!(reported([failure(VpnErrorKind::NoEndpoint)], &[]).await, ["failed: NoEndpoint"]);
    let midway = [page("c-1", Some("2")), failure(VpnErrorKind::NoAssociation)];
    assert_eq!(reported(midway, &[]).await, ["c-1", "failed: NoAssociation"], "it held some a moment ago");
}

#[tokio::test]
async fn a_poll_reads_every_page_or_nothing() {
    let both = [page("c-1", Some("2")), page("c-2", None)];
    let rows = all_pages(&Scripted::new(both), &endpoint(), &[]).await.unwrap();
    assert_eq!(rows, [row("c-1"), row("c-2")]);
    let cut = [page("c-1", Some("2")), failure(VpnErrorKind::Throttled)];
    assert_eq!(all_pages(&Scripted::new(cut), &endpoint(), &[]).await.unwrap_err().kind, VpnErrorKind::Throttled);
}
