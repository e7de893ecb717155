//! The page: what is going on now, for a person.

/// A file of the page.
#[derive(Debug)]
pub struct Asset {
    /// Where it is served.
    pub path: &'static str,
    /// Its content type.
    pub kind: &'static str,
    /// Its content.
    pub octets: &'static [u8],
}

/// All of them.
pub const ASSETS: [Asset; 1] = [Asset { path: "/", kind: "text/html; charset=utf-8", octets: b"<!doctype html>" }];

/// What the page shows.
#[derive(Debug, Default)]
pub struct State;

/// How far a viewer has been told.
#[derive(Debug, Default)]
pub struct Cursor;

impl State {
    /// Appends what a viewer does not know yet, as JSON.
    pub fn tell(&self, _cursor: &mut Cursor, json: &mut Vec<u8>) {
        json.extend_from_slice(b"{}");
    }
}
