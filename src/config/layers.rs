//! A mode's flags over its configuration file: TOML whose keys are the long flags.
//!
//! Groups of flags are taken one by one; a key that no group takes is an error. Errors name file, line and key, and
//! never the value of a secret.

use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::value::Error as NoValue;
use serde::de::{DeserializeOwned, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::cli::{self, Typed};
use crate::error::Error;

/// A mode's flags over its configuration file.
pub(super) struct Layers<'a, T> {
    mode: &'static str,
    typed: &'a Typed<T>,
    file: &'a LoadedFile,
    table: DeTable<'a>,
    known: Vec<&'static str>,
}

/// A `[[…]]` table of the file.
pub(super) struct FileTable<N, G> {
    /// Its line.
    pub(super) line: Option<usize>,
    /// What only the table can say.
    pub(super) own: N,
    /// What was typed, else what the table says, else what the keys above the tables say.
    pub(super) group: G,
}

/// A configuration file, or none.
#[derive(Debug, Default)]
pub(super) struct LoadedFile {
    path: PathBuf,
    text: String,
}

impl<'a, T> Layers<'a, T> {
    /// Lays what was typed over `file`.
    pub(super) fn new(mode: &'static str, typed: &'a Typed<T>, file: &'a LoadedFile) -> Result<Self, Error> {
        let table = DeTable::parse(&file.text).map_err(|error| file.wrong(error.span(), error.message()))?;
        Ok(Self { mode, typed, file, table: table.into_inner(), known: Vec::new() })
    }

    /// A group of flags: what was typed, else what the file says.
    pub(super) fn group<G: Args + DeserializeOwned>(&mut self) -> Result<G, Error> {
        let keys = keys_of::<G>();
        let table = take(&mut self.table, keys);
        self.known.extend(keys);
        self.merge(table)
    }

    /// The group that tables called `name` have, and the tables, which have `N` besides.
    pub(super) fn tables<N, G>(&mut self, name: &'static str) -> Result<(G, Vec<FileTable<N, G>>), Error>
    where
        N: DeserializeOwned,
        G: Args + DeserializeOwned,
    {
        let (keys, own_keys) = (keys_of::<G>(), keys_of::<N>());
        let above = take(&mut self.table, keys);
        self.known.extend(keys);
        self.known.push(name);
        let mut tables = Vec::new();
        for (span, mut table) in self.take_tables(name)? {
            let own = self.file.deserialize(take(&mut table, own_keys))?;
            let said = take(&mut table, keys);
            self.file.all_known(&table, &format!("[[{name}]]"), own_keys.iter().chain(keys), &|_| None)?;
            let mut group = above.clone();
            for (key, value) in said {
                // An insertion alone would keep the other key, with its place.
                group.remove(key.get_ref().as_ref());
                group.insert(key, value);
            }
            tables.push(FileTable { line: self.file.line(&span), own, group: self.merge(group)? });
        }
        Ok((self.merge(above)?, tables))
    }

    /// Ends with an error if the file has keys that no group has taken.
    pub(super) fn finish(self) -> Result<(), Error> {
        let Self { mode, file, table, known, .. } = self;
        file.all_known(&table, &format!("mailtap {mode}"), known.iter(), &|key| cli::mode_with(key, mode))
    }

    fn merge<G: Args + DeserializeOwned>(&self, table: DeTable<'a>) -> Result<G, Error> {
        let file = self.file.deserialize(table)?;
        // The command line has been parsed before: it cannot fail now.
        self.typed.over(file).map_err(|error| Error::Fault(error.kind().to_string()))
    }

    fn take_tables(&mut self, name: &str) -> Result<Vec<(Range<usize>, DeTable<'a>)>, Error> {
        let Some(value) = self.table.remove(name) else { return Ok(Vec::new()) };
        let span = value.span();
        let wrong = || self.file.wrong(Some(span.clone()), &format!("expected tables, each under a line [[{name}]]"));
        let DeValue::Array(array) = value.into_inner() else { return Err(wrong()) };
        let table = |value: Spanned<DeValue<'a>>| match (value.span(), value.into_inner()) {
            (span, DeValue::Table(table)) => Ok((span, table)),
            _ => Err(wrong()),
        };
        array.into_iter().map(table).collect()
    }
}

impl LoadedFile {
    /// The file at `path`; nothing if there is no path.
    pub(super) fn read(path: Option<&Path>) -> Result<Self, Error> {
        let Some(path) = path else { return Ok(Self::default()) };
        let path = path.to_owned();
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Self { path, text }),
            Err(reason) => Err(Error::ConfigFile { path, reason }),
        }
    }

    #[cfg(test)]
    pub(super) fn of(text: &str) -> Self {
        Self { path: "c.toml".into(), text: text.to_owned() }
    }

    /// An error at `line`.
    pub(super) fn at(&self, line: Option<usize>, reason: String) -> Error {
        Error::ConfigText { path: self.path.clone(), line, reason }
    }

    fn wrong(&self, span: Option<Range<usize>>, reason: &str) -> Error {
        let line = span.and_then(|span| self.line(&span));
        self.at(line, reason.lines().collect::<Vec<_>>().join(", "))
    }

    fn line(&self, span: &Range<usize>) -> Option<usize> {
        let before = self.text.as_bytes().get(..span.start)?;
        Some(1 + before.iter().filter(|byte| **byte == b'\n').count())
    }

    fn deserialize<G: DeserializeOwned>(&self, table: DeTable<'_>) -> Result<G, Error> {
        let spans: Vec<_> = table.iter().map(|(key, value)| (key.get_ref().to_string(), value.span())).collect();
        G::deserialize(toml::Deserializer::from(Spanned::new(0..0, table))).map_err(|error: toml::de::Error| {
            let at = error.span().unwrap_or(0..0);
            let key = spans.iter().find(|(_, span)| span.start <= at.start && at.end <= span.end);
            let key = key.map(|(key, _)| format!("{key}: ")).unwrap_or_default();
            self.wrong(error.span(), &format!("{key}{}", error.message()))
        })
    }

    /// Ends with an error if `table` has a key; `known` are those that `whose` has.
    fn all_known<'k>(
        &self,
        table: &DeTable<'_>,
        whose: &str,
        known: impl Iterator<Item = &'k &'static str>,
        other: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), Error> {
        let Some(key) = table.keys().min_by_key(|key| key.span().start) else { return Ok(()) };
        let name = key.get_ref().escape_default();
        let reason = match other(key.get_ref()) {
            Some(mode) => format!("`{name}` is a key of mailtap {mode}, not of {whose}"),
            None => {
                let known = known.copied().collect::<Vec<_>>().join(", ");
                format!("unknown key `{name}`; {whose} has {known}")
            }
        };
        Err(self.wrong(Some(key.span()), &reason))
    }
}

/// Moves the entries with these keys out of `table`.
fn take<'t>(table: &mut DeTable<'t>, keys: &[&str]) -> DeTable<'t> {
    let mut taken = DeTable::new();
    for key in keys {
        if let Some((key, value)) = table.remove_entry(*key) {
            taken.insert(key, value);
        }
    }
    taken
}

/// The keys of a group, as its `Deserialize` has them.
pub(super) fn keys_of<G: DeserializeOwned>() -> &'static [&'static str] {
    struct Keys<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Keys<'_> {
        type Error = NoValue;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, NoValue> {
            Err(NoValue::custom("asked for its keys only"))
        }

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            keys: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, NoValue> {
            *self.0 = keys;
            self.deserialize_any(visitor)
        }

        forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut keys: &'static [&'static str] = &[];
    let _ = G::deserialize(Keys(&mut keys));
    keys
}
