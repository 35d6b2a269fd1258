//! The emulated world: endpoints, connections, and clients that are about to come back.

mod connections;
mod endpoints;
mod reconnect;
mod world;

pub use connections::{ConnectionView, NewConnection, Status};
pub use endpoints::{Authentication, NewEndpoint};

pub(crate) use connections::Connection;
pub(crate) use endpoints::Endpoint;
pub(crate) use reconnect::Knock;
pub(crate) use world::{Settings, Shared, World};
