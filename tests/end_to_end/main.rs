//! The whole way, from the bytes of an invoke to what stands in EC2 and in the tables: over real HTTP, through the real
//! SDK. Each test is named after the invariant it holds, in the file of that invariant.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    unreachable_pub
)]

#[path = "../world/mod.rs"]
mod world;

mod answers;
mod bystander;
mod commands;
mod connect_handler;
mod fail_safe;
mod identity;
mod nothing_lost;
mod runtime_loop;
mod survivor;
mod sweep;
mod targets;
