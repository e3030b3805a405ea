//! The form of the tables: one row per setting, written with [`settings!`].

use super::{Dynamic, Effect, Type};

/// How much a setting matters, as Kafka's documentation sorts them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Look at it first.
    High,
    /// Look at it when tuning.
    Medium,
    /// Leave it alone.
    Low,
}

/// What a value must be besides its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// Nothing more.
    Any,
    /// A number not below.
    AtLeast(i64),
    /// A number within both bounds.
    Between(i64, i64),
    /// A fraction within both bounds.
    DoubleBetween(f64, f64),
    /// One of these texts.
    OneOf(&'static [&'static str]),
    /// One of these texts, in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list without empty words; duplicates are dropped.
    Words {
        /// The words allowed; empty for any.
        known: &'static [&'static str],
        /// Whether the list may be empty.
        empty: bool,
    },
    /// A text with at least one character.
    NotEmpty,
    /// 1 to 9, or −1.
    GzipLevel,
    /// `earliest`, `latest` or `by_duration:` and an ISO-8601 span.
    OffsetReset,
    /// `*`, or `partition:broker` pairs.
    ThrottledReplicas,
    /// `host:port` words.
    HostPorts,
    /// `id@host:port` words.
    Voters,
}

/// Whether DescribeConfigs shows a setting that nobody has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Visibility {
    /// Yes.
    Public,
    /// No.
    Internal,
}

/// One row of a table.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Kafka's name.
    pub name: &'static str,
    /// How its value is read.
    pub kind: Type,
    /// Kafka's default as text; `None` for null, and for the three that a server.properties must name.
    pub default: Option<&'static str>,
    /// How much it matters.
    pub importance: Importance,
    /// What a value must be.
    pub check: Check,
    /// When it may change (topics, groups and subscriptions: always).
    pub dynamic: Dynamic,
    /// What it does here.
    pub effect: Effect,
    /// Whether it is shown.
    pub visibility: Visibility,
    /// One line for people.
    pub doc: &'static str,
}

/// A table as a constant: `name, type, default or null, importance, check, dynamic, effect, visibility, doc;`
macro_rules! settings {
    (@default null) => { None };
    (@default $text:literal) => { Some($text) };
    ($table:ident $($name:literal, $kind:ident, $default:tt, $importance:ident, $check:expr, $dynamic:ident,
        $effect:ident, $visibility:ident, $doc:literal;)*) => {
        pub(super) const $table: &[Setting] = {
            use $crate::configs::table::{Check::*, Importance::*, Visibility::*};
            use $crate::configs::{Dynamic::*, Effect::*, Type::*};
            &[$(Setting {
                name: $name,
                kind: $kind,
                default: settings!(@default $default),
                importance: $importance,
                check: $check,
                dynamic: $dynamic,
                effect: $effect,
                visibility: $visibility,
                doc: $doc,
            }),*]
        };
    };
}
pub(super) use settings;
