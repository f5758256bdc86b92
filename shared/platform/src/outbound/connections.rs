//! The connections to hosts that tenants name.

use std::{
    collections::HashSet,
    fmt,
    sync::{Mutex, PoisonError},
};

use crate::client::Client;

/// To how many hosts connections are kept at the same time. The client keeps two of each, and each
/// is a descriptor that a sandbox child may need.
const MAX_HOSTS: usize = 64;

/// Clients that keep idle connections to [`MAX_HOSTS`] hosts in all. A client keeps them for each
/// host, so another client takes its place at the next host; idle connections end with their client.
pub(super) struct Connections {
    connect: Box<dyn Fn() -> Client + Send + Sync>,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    /// The hosts that it may have connections to, with their ports.
    hosts: HashSet<String>,
}

impl Connections {
    pub(super) fn new(connect: impl Fn() -> Client + Send + Sync + 'static) -> Self {
        let current = Current {
            client: connect(),
            hosts: HashSet::new(),
        };
        Self {
            connect: Box::new(connect),
            current: Mutex::new(current),
        }
    }

    /// The client for a host and port.
    pub(super) fn client(&self, host: &str) -> Client {
        // A panic elsewhere leaves a client that works.
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if !current.hosts.contains(host) {
            if current.hosts.len() >= MAX_HOSTS {
                current.client = (self.connect)();
                current.hosts.clear();
            }
            current.hosts.insert(host.to_owned());
        }
        current.client.clone()
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}
