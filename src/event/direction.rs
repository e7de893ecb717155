//! The two directions of a connection, and what can happen in one.

/// Which way octets travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dir {
    /// Sent by the client.
    ToServer,
    /// Sent by the server.
    ToClient,
}

impl Dir {
    /// Both, the client's octets first.
    pub const BOTH: [Self; 2] = [Self::ToServer, Self::ToClient];

    /// The other way.
    pub const fn reverse(self) -> Self {
        match self {
            Self::ToServer => Self::ToClient,
            Self::ToClient => Self::ToServer,
        }
    }

    /// 0 for the client's octets, 1 for the server's: index of every two-element array in the engine.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The side that sends this way, as the log names it.
    pub const fn sender(self) -> &'static str {
        match self {
            Self::ToServer => "client",
            Self::ToClient => "server",
        }
    }
}

/// A value for each direction.
#[derive(Clone, Copy, Debug, Default)]
pub struct Both<T> {
    /// Of the client's octets.
    pub to_server: T,
    /// Of the server's octets.
    pub to_client: T,
}

impl<T> std::ops::Index<Dir> for Both<T> {
    type Output = T;

    fn index(&self, dir: Dir) -> &T {
        match dir {
            Dir::ToServer => &self.to_server,
            Dir::ToClient => &self.to_client,
        }
    }
}

impl<T> std::ops::IndexMut<Dir> for Both<T> {
    fn index_mut(&mut self, dir: Dir) -> &mut T {
        match dir {
            Dir::ToServer => &mut self.to_server,
            Dir::ToClient => &mut self.to_client,
        }
    }
}

/// What happened in one direction of a connection.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// The next octets.
    Data(&'a [u8]),
    /// So many octets were lost.
    Gap(u64),
    /// The sender closed.
    Fin,
    /// The sender reset.
    Reset,
}
