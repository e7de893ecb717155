//! The macro that declares a closed set of words.

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
    };
}

pub(crate) use words;
