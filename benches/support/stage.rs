//! What two sides say to each other, turn by turn, in one buffer.

/// Who speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The side that opened the connection.
    Client,
    /// The side that was connected to.
    Server,
}

impl Side {
    /// 0 for the client, 1 for the server.
    pub(crate) const fn index(self) -> usize {
        self as usize
    }

    /// The other one.
    pub(crate) const fn peer(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// One side speaks, until the other does.
#[derive(Clone, Copy, Debug)]
struct Turn {
    side: Side,
    start: usize,
}

/// Turns that are said but not yet sent.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    octets: Vec<u8>,
    turns: Vec<Turn>,
}

impl Stage {
    /// Empties it; the room stays.
    pub(crate) fn clear(&mut self) {
        self.octets.clear();
        self.turns.clear();
    }

    /// Where `side` writes what it says: its running turn, or a new one.
    pub(crate) fn voice(&mut self, side: Side) -> &mut Vec<u8> {
        if self.turns.last().is_none_or(|t| t.side != side) {
            self.turn(side);
        }
        &mut self.octets
    }

    /// Begins a new turn of `side`, even if it spoke last.
    pub(crate) fn turn(&mut self, side: Side) {
        self.turns.push(Turn { side, start: self.octets.len() });
    }

    /// How many turns there are.
    pub(crate) fn len(&self) -> usize {
        self.turns.len()
    }

    /// Octets of all turns.
    pub(crate) fn octets(&self) -> usize {
        self.octets.len()
    }

    /// Speaker and octets of one turn.
    pub(crate) fn get(&self, turn: usize) -> (Side, &[u8]) {
        let Turn { side, start } = self.turns[turn];
        let end = self.turns.get(turn + 1).map_or(self.octets.len(), |t| t.start);
        (side, &self.octets[start..end])
    }
}

/// Says one line of formatted text, CRLF added.
macro_rules! say {
    ($stage:expr, $side:ident, $format:literal $(, $arg:expr)* $(,)?) => {{
        use std::io::Write as _;
        let voice = $stage.voice($crate::support::stage::Side::$side);
        write!(voice, $format $(, $arg)*).expect("writing to memory");
        voice.extend_from_slice(b"\r\n");
    }};
}
pub(crate) use say;
