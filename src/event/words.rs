//! Closed lists of words, and the macro that declares them.

/// Declares a closed `Copy` enum whose variants each have the word that the log and the metrics use.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every variant, in the order of declaration; the position is [`Self::index`].
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word of the log schema.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }

            /// Position in [`Self::ALL`]: an array index for a metric's handles.
            pub const fn index(self) -> usize {
                self as usize
            }
        }

        impl $crate::event::Words for $name {
            const WORDS: &'static [&'static str] = &[$($word),+];
        }

        impl std::str::FromStr for $name {
            type Err = $crate::event::UnknownWord;

            fn from_str(word: &str) -> Result<Self, $crate::event::UnknownWord> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::event::UnknownWord { expected: <Self as $crate::event::Words>::WORDS }),
                }
            }
        }
    };
}

pub(crate) use words;

/// An enum that is a closed list of words: of a flag, a key of the configuration, a field of a record or a label.
pub trait Words: std::str::FromStr<Err = UnknownWord> + Copy + Send + Sync + 'static {
    /// The words, in the order of declaration.
    const WORDS: &'static [&'static str];
}

/// A word that is not in its list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownWord {
    /// The list.
    pub expected: &'static [&'static str],
}

impl std::fmt::Display for UnknownWord {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected one of {}", self.expected.join(", "))
    }
}

impl std::error::Error for UnknownWord {}
