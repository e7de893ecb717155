//! Live interfaces become packets: libpcap through its packet ring, one thread for each interface.
//!
//! A thread polls the ring and a stop switch, since a read from an idle link returns for nobody. Packets are lent from
//! the ring, in order, and nothing is copied or allocated here. An interface that goes away is told of once, counted,
//! and opened again when it is back. Whoever takes the packets must not wait: what the kernel cannot put into a full
//! ring is lost, and shows in [`InterfaceCounters`] only.

mod counters;
mod device;
mod filter;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd};

use crate::wire::LinkType;
use crate::wire::Packet;

pub use counters::{Count, InterfaceCounters};
pub use device::Device;

/// How interfaces are opened and what is taken from them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Filter as in pcap-filter(7); `None`: the mail ports.
    pub filter: Option<String>,
    /// Ports that are mail ports besides the usual ones.
    pub ports: Vec<u16>,
    /// Octets of each packet.
    pub snaplen: u32,
    /// Octets of the kernel's ring, for each interface.
    pub buffer: u64,
    /// How long the kernel may gather packets before it hands them over.
    pub gather: Duration,
    /// Promiscuous mode.
    pub promiscuous: bool,
}

/// What an interface gives.
#[derive(Debug)]
pub enum Moment<'a> {
    /// A packet.
    Packet(&'a Packet<'a>),
    /// A block of the kernel's ring is taken, or nothing came for a while: what has gathered should go on its way.
    Pause,
}

/// An interface that cannot be opened, or a filter that it cannot have.
#[derive(Debug)]
pub struct DeviceError {
    /// Its name.
    pub interface: String,
    /// What is wrong.
    pub what: DeviceErrorKind,
}

/// What is wrong with an interface.
#[derive(Debug)]
pub enum DeviceErrorKind {
    /// There is none of that name.
    Unknown,
    /// It is down.
    Down,
    /// It takes a privilege that the process lacks.
    Denied,
    /// Frames of this kind cannot be read.
    Link(i32),
    /// The filter makes no sense, or not here.
    Filter {
        /// As it was given.
        filter: String,
        /// libpcap's words.
        reason: String,
    },
    /// Anything else, in libpcap's words.
    Other(String),
}

impl DeviceError {
    /// Whether what was asked for makes no sense, on any interface of that kind.
    pub const fn is_usage(&self) -> bool {
        matches!(self.what, DeviceErrorKind::Filter { .. })
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.interface;
        match &self.what {
            DeviceErrorKind::Unknown => {
                write!(f, "{name}: there is no such interface; see `mailtap sniff --list-interfaces`")
            }
            DeviceErrorKind::Down => {
                write!(f, "{name}: the interface is down; bring it up with `ip link set {name} up`")
            }
            DeviceErrorKind::Denied => write!(
                f,
                "{name}: capturing takes root or the capability cap_net_raw; run as root with --user NAME, or give it with `setcap cap_net_raw=ep` to mailtap"
            ),
            DeviceErrorKind::Link(link) => {
                write!(f, "{name}: frames of link type {link} cannot be read; choose another interface, or `any`")
            }
            DeviceErrorKind::Filter { filter, reason } => {
                write!(f, "{name}: the filter `{filter}` cannot be used: {reason}; see pcap-filter(7)")
            }
            DeviceErrorKind::Other(reason) => write!(f, "{name}: cannot be captured from: {reason}; check --interface"),
        }
    }
}

impl std::error::Error for DeviceError {}

/// An interface that can be watched.
#[derive(Clone, Debug)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// What it is, if the system says so.
    pub about: Option<String>,
    /// Its addresses.
    pub addresses: Vec<std::net::IpAddr>,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is a loopback.
    pub loopback: bool,
}

/// The interfaces that can be watched.
pub fn interfaces() -> Result<Vec<Interface>, String> {
    let devices = pcap::Device::list().map_err(|e| device::words(&e))?;
    let network = devices.into_iter().filter(|d| device::is_network(&d.name));
    Ok(network
        .map(|d| Interface {
            about: d.desc.filter(|text| !text.is_empty()),
            addresses: d.addresses.iter().map(|a| a.addr).collect(),
            up: d.flags.is_up(),
            loopback: d.flags.is_loopback(),
            name: d.name,
        })
        .collect())
}

/// Whether the interface `name` could be watched with these options, as far as that shows without opening it.
pub fn check(name: &str, options: &Options) -> Result<(), DeviceError> {
    device::check(name, options)
}

/// Whether the filter makes sense for packets of `link` from the interface `name`.
pub fn check_filter(name: &str, link: LinkType, options: &Options) -> Result<(), DeviceError> {
    device::check_filter(name, link, options)
}

/// What capture threads obey: it stops them, at once and for good, and gives them another filter.
#[derive(Debug)]
pub struct Switch {
    stopped: AtomicBool,
    bell: OwnedFd,
    filter: Mutex<Option<String>>,
    filters: AtomicU64,
}

impl Switch {
    /// Not stopped yet.
    pub fn new() -> std::io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self { stopped: AtomicBool::new(false), bell, filter: Mutex::default(), filters: AtomicU64::new(0) })
    }

    /// Stops all that wait for it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        // Nobody ever reads it, so it wakes everyone who polls it from now on.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Whether it is time.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// From soon on `filter` decides what is taken, where it can be used; `None`: the mail ports.
    pub fn set_filter(&self, filter: Option<String>) {
        *self.filter.lock().unwrap_or_else(PoisonError::into_inner) = filter;
        self.filters.fetch_add(1, Ordering::Release);
    }

    /// The filter, if it is not the one that was there at `seen`, which becomes now.
    fn new_filter(&self, seen: &mut u64) -> Option<Option<String>> {
        let now = self.filters.load(Ordering::Acquire);
        let before = std::mem::replace(seen, now);
        (now != before).then(|| self.filter.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Waits, at most `patience`, until it is time or `device` has something; whether something is wrong with it.
    fn or_readable(&self, device: Option<BorrowedFd<'_>>, patience: Duration) -> bool {
        let ear = |fd| PollFd::from_borrowed_fd(fd, PollFlags::IN);
        let bell = self.bell.as_fd();
        let mut ears = [ear(bell), ear(device.unwrap_or(bell))];
        let patience = Timespec::try_from(patience).ok();
        // Interrupted or impossible: whoever waits looks anew, after a while.
        let _ = rustix::event::poll(&mut ears, patience.as_ref());
        let [_, device] = ears;
        device.revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }
}

#[cfg(test)]
mod tests;
