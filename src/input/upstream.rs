//! stub
use crate::config::proxy::{HeaderOut, Transparent};
use crate::time::Timestamp;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// x
#[derive(Debug, Default)]
pub struct Admission;
/// x
#[derive(Debug)]
pub struct Ticket;
/// x
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// x
    Refused,
    /// x
    Timeout,
    /// x
    Other,
}
impl Failure {
    /// x
    pub fn as_str(self) -> &'static str {
        "x"
    }
}
impl From<&io::Error> for Failure {
    fn from(e: &io::Error) -> Self {
        if e.kind() == io::ErrorKind::ConnectionRefused { Self::Refused } else { Self::Other }
    }
}
/// x
pub enum Header {
    /// x
    NeedMore,
    /// x
    Invalid,
    /// x
    Complete {
        /// x
        length: usize,
        /// x
        client: Option<SocketAddr>,
    },
}
/// x
pub fn parse(_: &[u8]) -> Header {
    Header::Invalid
}
/// x
pub fn header(_: HeaderOut, _: SocketAddr, _: SocketAddr, _: u64) -> Vec<u8> {
    Vec::new()
}
/// x
pub fn destination(s: &TcpStream, _: Transparent, _: &[SocketAddr]) -> io::Result<SocketAddr> {
    s.local_addr()
}
/// x
pub fn tune(s: &TcpStream) -> io::Result<()> {
    s.set_nodelay(true)
}
/// x
pub async fn dial(
    t: SocketAddr,
    _: Option<SocketAddr>,
    _: Option<u32>,
    d: Option<Duration>,
) -> Result<TcpStream, Failure> {
    let c = tokio::time::timeout(d.unwrap_or(Duration::MAX), TcpStream::connect(t))
        .await
        .map_err(|_| Failure::Timeout)?
        .map_err(|e| Failure::from(&e))?;
    let _ = tune(&c);
    Ok(c)
}
impl Admission {
    /// x
    pub fn admit(&self, _: Timestamp, _: IpAddr) -> Result<Ticket, u8> {
        Ok(Ticket)
    }
    /// x
    pub async fn room(&self) {}
}

/// x
#[derive(Debug)]
pub struct ListenError(io::Error);
impl std::fmt::Display for ListenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}; x", self.0)
    }
}
/// x
pub fn listen(_: &crate::config::proxy::Listener, a: SocketAddr) -> Result<std::net::TcpListener, ListenError> {
    std::net::TcpListener::bind(a).map_err(ListenError)
}
impl Admission {
    /// x
    pub fn new(_: crate::config::proxy::Admission) -> Self {
        Self
    }
}
