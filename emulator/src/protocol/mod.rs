//! The EC2 query protocol: form parameters in, XML out.

pub(crate) mod error;
pub(crate) mod filters;
pub(crate) mod paging;
pub(crate) mod query;
pub(crate) mod xml;
