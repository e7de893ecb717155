//! Where metrics and the page are served, and to whom.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::{ServeError, certificate};
use crate::secret::Secret;

/// Where metrics and the page are served, and to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeSettings {
    /// The address.
    pub listen: SocketAddr,
    /// What a request has to bear.
    pub token: Option<Secret>,
    /// Certificate chain and key, PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Names of this host that the page is asked for by, beside those that are known; in lower case.
    pub hosts: Vec<String>,
}

impl ServeSettings {
    /// Reads certificate and key, as [`BoundServer::bind`](super::BoundServer::bind) would.
    pub fn check(&self) -> Result<(), ServeError> {
        self.tls.as_ref().map_or(Ok(()), |(chain, key)| certificate::acceptor(chain, key).map(|_| ()))
    }
}
