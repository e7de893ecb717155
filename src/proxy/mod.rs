//! The inline proxy: connections come in at a listener, go on to their server, and are observed on the way.
//!
//! Mail servers speak first, so the server is dialled when the client is accepted. One task per connection owns both
//! sockets and the engine's session: no channel, no lock. Threads share nothing but the listeners. Octets go on before
//! they are looked at, and nothing the observer does can hold them up.

mod accept_queue;
pub mod admission;
mod buffers;
mod clock;
mod connection;
mod cycles;
mod descriptors;
pub mod destination;
pub mod dial;
mod forward;
mod health;
mod idle;
mod listen;
mod listener;
mod local;
mod loops;
mod neighbours;
mod observer;
mod pair;
pub mod proxy_protocol;
mod reach;
mod ready;
mod refuse;
mod resolve;
mod serve;
pub mod settings;
mod shared;
mod splice;
mod terminated;
#[cfg(test)]
mod testing;
pub mod tls;
mod trust;
mod ungreeted;
mod upstream;
mod warnings;
mod worker;

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch as channel;

pub use accept_queue::AcceptQueues;
pub use listen::ListenError;
pub use listener::{BoundListener, Listener, ListenerOptions, ListeningSocket, NextHop, OpenError};
pub use neighbours::Neighbours;
pub use resolve::{CheckedServers, check_servers, look_up_servers};
pub use settings::ProxySettings;

use crate::output::EventFanout;
use clock::Timeline;
use descriptors::Descriptors;
use loops::LoopGuard;
use settings::Forwarding;
use shared::AllThreads;

/// What the threads are to do.
#[derive(Clone, Debug)]
pub enum Order {
    /// Accept at these listeners.
    Serve(Arc<Serving>),
    /// Accept no more, and close connections as they come to rest.
    Drain {
        /// Time for all of it; `None` is for ever.
        within: Option<Duration>,
        /// Time over which connections at rest are closed.
        spread: Duration,
        /// A successor accepts at the listeners: clients accepted before are still connected to their servers. Otherwise no
        /// server is dialled from now on.
        replaced: bool,
    },
    /// Close everything now.
    Stop,
}

/// Where connections are accepted.
#[derive(Debug)]
pub struct Serving {
    /// The listeners.
    pub listeners: Vec<BoundListener>,
    /// The names of all sources so far, by number: those of former listeners stay, for their connections do.
    pub sources: Vec<String>,
}

/// The threads that forward, and the one that looks up names for them.
#[derive(Debug)]
pub struct Workers {
    orders: channel::Sender<Order>,
    threads: Vec<JoinHandle<io::Result<()>>>,
}

impl Workers {
    /// Starts a thread for each of `fanouts`, which accepts at the listeners of `serving`, and waits until they do.
    pub fn start(forwarding: Forwarding, fanouts: Vec<EventFanout>, serving: Serving) -> io::Result<Self> {
        let all = AllThreads {
            timeline: Timeline::new(),
            ends: LoopGuard::default(),
            descriptors: Arc::new(Descriptors::new(fanouts.len())),
        };
        let (orders, _) = channel::channel(Order::Serve(Arc::new(serving)));
        let mut threads = Vec::with_capacity(fanouts.len() + 1);
        let (accepts, accepting) = mpsc::channel::<()>();
        for fanout in fanouts {
            let (all, accepts) = (all.clone(), accepts.clone());
            let orders = orders.subscribe();
            let thread = thread::Builder::new().name("forward".into());
            threads.push(thread.spawn(move || worker::run(&forwarding, fanout, &all, orders, accepts))?);
        }
        let names = orders.subscribe();
        threads.push(thread::Builder::new().name("resolve".into()).spawn(move || resolve::run(names))?);
        drop(accepts);
        // Whoever is told that the proxy is ready may count on it. Nothing is sent: each thread drops its end.
        let _ = accepting.recv();
        Ok(Self { orders, threads })
    }

    /// Tells all threads what to do from now on.
    pub fn order(&self, order: Order) {
        self.orders.send_replace(order);
    }

    /// Whether all threads have ended.
    pub fn are_done(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits for them; the first error of one.
    pub fn join(self) -> io::Result<()> {
        let ended = self.threads.into_iter().map(|thread| thread.join().unwrap_or(Ok(())));
        ended.fold(Ok(()), io::Result::and)
    }
}
