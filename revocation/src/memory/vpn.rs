//! Client VPN in memory: enough of it to try the domain's decisions. The emulator is the faithful one.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use super::{Calls, Mishap, lock};
use crate::connection::{Connection, ConnectionId, EndpointId, Status, Target};
use crate::name::Name;
use crate::ports::{ClientVpn, Clock, Ended, Page, PageToken, VpnError, VpnErrorKind, Which};
use crate::time::Timestamp;

#[derive(Debug, Clone)]
struct Session {
    endpoint: EndpointId,
    connection: Connection,
    listed_from: Timestamp,
    /// When its end was first asked for.
    ending_at: Option<Timestamp>,
    over_at: Option<Timestamp>,
    returns: Option<Duration>,
    /// Until then listings show it as it was.
    shown_active_until: Option<Timestamp>,
}

impl Session {
    /// How a listing shows it that knows what had happened by `at`; not at all before it was listed.
    fn shown(&self, at: Timestamp, now: Timestamp) -> Option<Connection> {
        let status = match (self.shown_active_until, self.ending_at) {
            (Some(until), _) if now < until => Status::Active,
            (_, Some(ending)) if at < ending => Status::Active,
            (_, Some(_)) if self.over_at.is_some_and(|over| at < over) => Status::Terminating,
            _ => self.connection.status.clone(),
        };
        (self.listed_from <= at).then(|| Connection { status, ..self.connection.clone() })
    }
}

#[derive(Default)]
struct World {
    endpoints: Vec<EndpointId>,
    sessions: Vec<Session>,
    stuck: Vec<ConnectionId>,
    /// How old what listings show is, and until when.
    behind: Option<(Duration, Timestamp)>,
    door: Option<Door>,
    watcher: Option<Watcher>,
}

/// Decides whether a client that comes back is let in.
type Door = Arc<dyn Fn(&Connection) -> bool + Send + Sync>;

/// Sees every connection that is being ended, at the instant at which it is.
type Watcher = Arc<dyn Fn(&Connection) + Send + Sync>;

/// Client VPN in one account and Region, in memory.
#[derive(Clone)]
pub struct MemoryVpn {
    target: Target,
    clock: Arc<dyn Clock>,
    world: Arc<Mutex<World>>,
    calls: Calls,
    page: usize,
    ends_after: Duration,
    /// The number before its first connection's.
    numbered_after: usize,
}

impl MemoryVpn {
    /// No endpoints yet; pages of `page` rows; a terminated connection takes `ends_after` to be over.
    #[must_use]
    pub fn new(
        region: &str,
        clock: &Arc<impl Clock + 'static>,
        calls: &Calls,
        page: usize,
        ends_after: Duration,
    ) -> Self {
        Self {
            target: Target { region: region.to_owned(), account: Some("111122223333".to_owned()) },
            clock: Arc::clone(clock) as Arc<dyn Clock>,
            world: Arc::default(),
            calls: calls.clone(),
            page,
            ends_after,
            numbered_after: 0,
        }
    }

    /// The same in another account, whose connections have numbers of their own.
    #[must_use]
    pub fn of_account(mut self, account: &str, numbered_after: usize) -> Self {
        self.target.account = Some(account.to_owned());
        self.numbered_after = numbered_after;
        self
    }

    /// Adds an endpoint.
    pub fn endpoint(&self, id: &str) -> EndpointId {
        let id = EndpointId::new(id);
        lock(&self.world).endpoints.push(id.clone());
        id
    }

    /// Connects a client, which is listed after `lag` and, where `returns` is set, is back that long after being cut.
    pub fn connect(
        &self,
        endpoint: &EndpointId,
        names: (Option<&str>, Option<&str>),
        lag: Duration,
        returns: Option<Duration>,
    ) -> ConnectionId {
        let mut world = lock(&self.world);
        let id = ConnectionId::new(&format!("cvpn-connection-{:04}", self.numbered_after + world.sessions.len() + 1));
        let now = self.clock.now();
        world.sessions.push(Session {
            endpoint: endpoint.clone(),
            connection: Connection {
                id: id.clone(),
                username: names.0.map(str::to_owned),
                common_name: names.1.map(str::to_owned),
                status: Status::Active,
                established_at: Some(now),
            },
            listed_from: now.plus(lag),
            ending_at: None,
            over_at: None,
            returns,
            shown_active_until: None,
        });
        id
    }

    /// Lets listings show this connection as active for a while, whatever becomes of it.
    pub fn lag(&self, id: &ConnectionId, lag: Duration) {
        let until = self.clock.now().plus(lag);
        for session in lock(&self.world).sessions.iter_mut().filter(|session| session.connection.id == *id) {
            session.shown_active_until = Some(until);
        }
    }

    /// Lets listings show, for a while, how everything stood `age` ago.
    pub fn show_as_before(&self, age: Duration, lasts: Duration) {
        lock(&self.world).behind = Some((age, self.clock.now().plus(lasts)));
    }

    /// Asks this before a client that comes back is let in.
    pub fn set_door(&self, door: impl Fn(&Connection) -> bool + Send + Sync + 'static) {
        lock(&self.world).door = Some(Arc::new(door));
    }

    /// Shows this every connection that is being ended.
    pub fn watch(&self, watcher: impl Fn(&Connection) + Send + Sync + 'static) {
        lock(&self.world).watcher = Some(Arc::new(watcher));
    }

    /// Nobody comes back any more.
    pub fn nobody_returns(&self) {
        lock(&self.world).sessions.iter_mut().for_each(|session| session.returns = None);
    }

    /// Every session there was, as it really is, and when it was over.
    #[must_use]
    pub fn sessions(&self) -> Vec<(Connection, Option<Timestamp>)> {
        self.turn();
        let world = lock(&self.world);
        let over = |session: &Session| session.over_at.filter(|_| !session.connection.status.is_alive());
        world.sessions.iter().map(|session| (session.connection.clone(), over(session))).collect()
    }

    /// Makes every attempt to end this connection fail.
    pub fn stick(&self, id: &ConnectionId) {
        lock(&self.world).stuck.push(id.clone());
    }

    /// The ids of all connections that are alive, or of those with this user or common name.
    #[must_use]
    pub fn alive(&self, name: Option<&str>) -> Vec<ConnectionId> {
        self.turn();
        let wanted = name.map(|name| Name::found(Some(name)));
        let world = lock(&self.world);
        let alive =
            world.sessions.iter().map(|session| &session.connection).filter(|connection| connection.status.is_alive());
        alive
            .filter(|connection| {
                wanted.as_ref().is_none_or(|name| connection.user() == *name || connection.certificate() == *name)
            })
            .map(|connection| connection.id.clone())
            .collect()
    }

    /// Lets happen what is due.
    fn turn(&self) {
        let now = self.clock.now();
        let mut back = Vec::new();
        let mut world = lock(&self.world);
        for session in &mut world.sessions {
            if session.connection.status == Status::Terminating && session.over_at.is_some_and(|at| at <= now) {
                session.connection.status = Status::Terminated;
            }
            let over = session.connection.status == Status::Terminated;
            if let (true, Some(pause), Some(at)) = (over, session.returns, session.over_at)
                && at.plus(pause) <= now
            {
                session.returns = None;
                back.push((session.endpoint.clone(), session.connection.clone(), pause));
            }
        }
        let door = world.door.clone();
        drop(world);
        back.retain(|(_, connection, _)| door.as_ref().is_none_or(|door| door(connection)));
        for (endpoint, connection, pause) in back {
            let names = (connection.username.as_deref(), connection.common_name.as_deref());
            self.connect(&endpoint, names, Duration::ZERO, Some(pause));
        }
    }

    fn error(kind: VpnErrorKind) -> VpnError {
        VpnError { kind, code: Some(format!("{kind:?}")), message: "as planned".to_owned(), request_id: None }
    }

    fn failure(mishap: Option<Mishap>) -> Result<Option<Mishap>, VpnError> {
        match mishap {
            None | Some(Mishap::AnswerLost) => Ok(mishap),
            Some(Mishap::Denied) => Err(Self::error(VpnErrorKind::Denied)),
            Some(Mishap::Throttled) => Err(Self::error(VpnErrorKind::Throttled)),
            Some(Mishap::NoTurn) => Err(Self::error(VpnErrorKind::NoTurn)),
            Some(_) => Err(Self::error(VpnErrorKind::Unavailable)),
        }
    }
}

impl std::fmt::Debug for MemoryVpn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemoryVpn").field("target", &self.target).finish_non_exhaustive()
    }
}

#[async_trait]
impl ClientVpn for MemoryVpn {
    fn target(&self) -> &Target {
        &self.target
    }

    async fn endpoints(&self) -> Result<Vec<EndpointId>, VpnError> {
        Self::failure(self.calls.make("vpn.endpoints".to_owned()).await)?;
        Ok(lock(&self.world).endpoints.clone())
    }

    async fn connections(
        &self,
        endpoint: &EndpointId,
        only: &[ConnectionId],
        after: Option<&PageToken>,
    ) -> Result<Page, VpnError> {
        let what = if only.is_empty() { "list" } else { "poll" };
        Self::failure(self.calls.make(format!("vpn.{what} {endpoint}")).await)?;
        self.turn();
        let now = self.clock.now();
        let world = lock(&self.world);
        let at = match world.behind {
            Some((age, until)) if now < until => now.minus(age),
            _ => now,
        };
        let rows: Vec<Connection> = (world.sessions.iter())
            .filter(|session| session.endpoint == *endpoint)
            .filter_map(|session| session.shown(at, now))
            .filter(|connection| only.is_empty() || only.contains(&connection.id))
            .collect();
        let from: usize = after.and_then(|token| token.0.parse().ok()).unwrap_or(0);
        let next = (from + self.page < rows.len()).then(|| PageToken((from + self.page).to_string()));
        Ok(Page { connections: rows.into_iter().skip(from).take(self.page).collect(), next })
    }

    async fn terminate(&self, endpoint: &EndpointId, which: &Which) -> Result<Vec<Ended>, VpnError> {
        let call = match which {
            Which::Id(id) => format!("vpn.terminate {id}"),
            Which::User(user) => format!("vpn.terminate user {user}"),
        };
        let mishap = Self::failure(self.calls.make(call).await)?;
        self.turn();
        let now = self.clock.now();
        let over_at = now.plus(self.ends_after);
        let mut world = lock(&self.world);
        let (stuck, watcher) = (world.stuck.clone(), world.watcher.clone());
        let meant = |session: &Session| match which {
            Which::Id(id) => session.connection.id == *id,
            Which::User(user) => {
                session.connection.username.as_ref() == Some(user) && session.connection.status.is_alive()
            }
        };
        let mut ended = Vec::new();
        for session in world.sessions.iter_mut().filter(|session| session.endpoint == *endpoint && meant(session)) {
            let previous = session.connection.status.clone();
            if stuck.contains(&session.connection.id) {
                session.connection.status = Status::FailedToTerminate;
            } else if previous.is_alive() {
                if let (Some(watcher), Status::Active) = (&watcher, &previous) {
                    watcher(&session.connection);
                }
                session.connection.status = Status::Terminating;
                session.ending_at.get_or_insert(now);
                session.over_at.get_or_insert(over_at);
                if over_at <= now {
                    session.connection.status = Status::Terminated;
                }
            }
            ended.push(Ended {
                id: session.connection.id.clone(),
                previous: Some(previous),
                current: Some(session.connection.status.clone()),
                message: None,
                request_id: None,
            });
        }
        if mishap == Some(Mishap::AnswerLost) {
            return Err(Self::error(VpnErrorKind::Unavailable));
        }
        match (ended.is_empty(), ended.len(), which) {
            (true, ..) => Err(Self::error(VpnErrorKind::NoConnection)),
            (_, 6.., Which::User(_)) => Err(Self::error(VpnErrorKind::TooManyConnections)),
            _ => Ok(ended),
        }
    }

    async fn may_terminate(&self, endpoint: &EndpointId, _: &Which) -> Result<(), VpnError> {
        Self::failure(self.calls.make(format!("vpn.may-terminate {endpoint}")).await).map(|_| ())
    }
}
