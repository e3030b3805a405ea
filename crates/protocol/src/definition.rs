//! The definitions of the wire, read from the texts in `definitions/`. This file is compiled twice: into
//! `build.rs`, which turns definitions into Rust, and (feature `definitions`) into the library, for tools that
//! take messages apart by their names without the generated code.
//!
//! ```text
//! # One sentence about the message.
//! api Fetch 1                                   name and key of the API
//! request FetchRequest 4-18 flexible 12+        versions; since when lengths are compact and tags exist
//!   ClusterId string 12+: tag 0, nullable       name, type, versions (all when left out): attributes
//!   Topics []FetchTopic                         a struct; its fields follow, indented deeper
//!     TopicId uuid 13+
//!   struct Shared 0+                            a struct that several fields name
//!     Id int32
//! ```
//! Attributes: `tag N [in VERSIONS]`, `nullable [VERSIONS]`, `default VALUE`, `ignorable` (may be left out in
//! silence where the version lacks the field).

use std::fmt;

/// An inclusive range of versions; empty when `first > last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The oldest version.
    pub first: i16,
    /// The newest version.
    pub last: i16,
}

impl Versions {
    /// Every version.
    pub const ALL: Versions = Versions { first: 0, last: i16::MAX };
    /// No version.
    pub const NONE: Versions = Versions { first: i16::MAX, last: -1 };

    /// Whether `version` lies in the range.
    pub fn contains(self, version: i16) -> bool {
        self.first <= version && version <= self.last
    }

    /// Whether every version of `inner` lies in the range.
    pub fn covers(self, inner: Versions) -> bool {
        self.first <= inner.first && inner.last <= self.last
    }

    /// Whether no version lies in both ranges.
    pub fn misses(self, other: Versions) -> bool {
        self.first.max(other.first) > self.last.min(other.last)
    }
}

/// The type of a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// One byte, 0 or 1.
    Bool,
    /// Signed, one byte.
    Int8,
    /// Signed, two bytes, big-endian, as all numbers here.
    Int16,
    /// Unsigned, two bytes.
    Uint16,
    /// Signed, four bytes.
    Int32,
    /// Unsigned, four bytes.
    Uint32,
    /// Signed, eight bytes.
    Int64,
    /// IEEE 754, eight bytes.
    Float64,
    /// Sixteen bytes.
    Uuid,
    /// UTF-8 with its length before it.
    String,
    /// Bytes with their length before them.
    Bytes,
    /// Record batches with their length before them; always nullable.
    Records,
    /// A struct of that name.
    Struct(String),
    /// A count, then the elements.
    Array(Box<Type>),
}

/// One field of a struct.
#[derive(Debug, Clone)]
pub struct Field {
    /// Kafka's spelling.
    pub name: String,
    /// What it holds.
    pub kind: Type,
    /// The versions that have the field.
    pub versions: Versions,
    /// The versions in which it may be null.
    pub nullable: Versions,
    /// Its tag, and the versions in which it travels as a tagged field.
    pub tag: Option<(u32, Versions)>,
    /// The default as written, if one is.
    pub default: Option<String>,
    /// Whether a value that the version cannot carry is dropped in silence.
    pub ignorable: bool,
}

/// A struct: of the message, or nested.
#[derive(Debug, Clone)]
pub struct Struct {
    /// Its name.
    pub name: String,
    /// Its fields in wire order.
    pub fields: Vec<Field>,
}

/// What a message is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A request of an API.
    Request,
    /// A response of an API.
    Response,
    /// A metadata record; the key is its type.
    Record,
    /// The key of a coordinator's record.
    Key,
    /// The value of a coordinator's record.
    Value,
    /// Anything else.
    Data,
}

/// A whole message.
#[derive(Debug, Clone)]
pub struct Message {
    /// What it is used for.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// The sentence above it.
    pub about: String,
    /// API key, record type, or −1.
    pub key: i16,
    /// The versions that exist.
    pub versions: Versions,
    /// The versions with compact lengths and tagged fields.
    pub flexible: Versions,
    /// The message's own struct first, then the nested ones in the order of their appearance.
    pub structs: Vec<Struct>,
}

/// A definition file: one API with its two messages, or a single message.
#[derive(Debug, Clone)]
pub struct Definition {
    /// Name and key, when the file defines an API.
    pub api: Option<(String, i16)>,
    /// The messages.
    pub messages: Vec<Message>,
}

/// Where and why a definition cannot be read.
#[derive(Debug)]
pub struct DefinitionError {
    /// Counted from one.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for DefinitionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

/// A line without its comment, with its depth (two spaces each) and number.
struct Line<'a> {
    number: usize,
    depth: usize,
    text: &'a str,
}

impl Line<'_> {
    fn error(&self, reason: impl Into<String>) -> DefinitionError {
        DefinitionError { line: self.number, reason: reason.into() }
    }
}

/// Reads one definition file.
pub fn parse(text: &str) -> Result<Definition, DefinitionError> {
    let about = text
        .lines()
        .take_while(|line| line.starts_with('#'))
        .map(|line| line[1..].trim())
        .collect::<Vec<_>>()
        .join(" ");
    let lines: Vec<Line<'_>> = text
        .lines()
        .enumerate()
        .filter(|(_, text)| !text.trim().is_empty() && !text.starts_with('#'))
        .map(|(at, text)| Line { number: at + 1, depth: (text.len() - text.trim_start().len()) / 2, text: text.trim() })
        .collect();
    let mut definition = Definition { api: None, messages: Vec::new() };
    let mut rest = lines.as_slice();
    while let Some((head, below)) = rest.split_first() {
        let body_len = below.iter().take_while(|line| line.depth > 0).count();
        let (body, after) = below.split_at(body_len);
        rest = after;
        let words: Vec<&str> = head.text.split_whitespace().collect();
        match words.as_slice() {
            ["api", name, key] => definition.api = Some(((*name).to_owned(), number(head, key)?)),
            [role, name, versions, "flexible", flexible, key @ ..] => {
                let mut message = Message {
                    role: role_of(head, role)?,
                    name: (*name).to_owned(),
                    about: about.clone(),
                    key: definition.api.as_ref().map_or(-1, |(_, key)| *key),
                    versions: versions_of(head, versions)?,
                    flexible: versions_of(head, flexible)?,
                    structs: Vec::new(),
                };
                if let ["key", key] = key {
                    message.key = number(head, key)?;
                }
                struct_of(name, body, 1, &mut message.structs)?;
                definition.messages.push(message);
            }
            _ => return Err(head.error("expected `api NAME KEY` or `ROLE NAME VERSIONS flexible VERSIONS [key KEY]`")),
        }
    }
    Ok(definition)
}

fn role_of(line: &Line<'_>, word: &str) -> Result<Role, DefinitionError> {
    Ok(match word {
        "request" => Role::Request,
        "response" => Role::Response,
        "record" => Role::Record,
        "key" => Role::Key,
        "value" => Role::Value,
        "data" => Role::Data,
        _ => return Err(line.error(format!("`{word}` is no kind of message"))),
    })
}

/// Reads the fields at `depth`, and before them (in `structs`) puts the struct itself.
fn struct_of(name: &str, lines: &[Line<'_>], depth: usize, structs: &mut Vec<Struct>) -> Result<(), DefinitionError> {
    let place = structs.len();
    structs.push(Struct { name: name.to_owned(), fields: Vec::new() });
    let mut rest = lines;
    while let Some((head, below)) = rest.split_first() {
        if head.depth != depth {
            return Err(head.error("indented by other than two spaces a level"));
        }
        let body_len = below.iter().take_while(|line| line.depth > depth).count();
        let (body, after) = below.split_at(body_len);
        rest = after;
        if let Some(shared) = head.text.strip_prefix("struct ") {
            let shared = shared.split_whitespace().next().unwrap_or_default();
            struct_of(shared, body, depth + 1, structs)?;
            continue;
        }
        let field = field_of(head)?;
        if let (Some(nested), false) = (struct_name(&field.kind), body.is_empty()) {
            struct_of(nested, body, depth + 1, structs)?;
        }
        structs[place].fields.push(field);
    }
    Ok(())
}

/// The struct that a type is made of, if any.
pub fn struct_name(kind: &Type) -> Option<&str> {
    match kind {
        Type::Struct(name) => Some(name),
        Type::Array(element) => struct_name(element),
        _ => None,
    }
}

fn field_of(line: &Line<'_>) -> Result<Field, DefinitionError> {
    let (head, attributes) = line.text.split_once(": ").unwrap_or((line.text, ""));
    let words: Vec<&str> = head.split_whitespace().collect();
    let (name, kind, versions) = match words.as_slice() {
        [name, kind] => (*name, *kind, Versions::ALL),
        [name, kind, versions] => (*name, *kind, versions_of(line, versions)?),
        _ => return Err(line.error("expected `NAME TYPE [VERSIONS][: ATTRIBUTES]`")),
    };
    let mut field = Field {
        name: name.to_owned(),
        kind: type_of(kind),
        versions,
        nullable: Versions::NONE,
        tag: None,
        default: None,
        ignorable: false,
    };
    for attribute in attributes.split(", ").filter(|attribute| !attribute.is_empty()) {
        let words: Vec<&str> = attribute.split_whitespace().collect();
        match words.as_slice() {
            ["tag", tag] => field.tag = Some((number(line, tag)? as u32, versions)),
            ["tag", tag, "in", range] => field.tag = Some((number(line, tag)? as u32, versions_of(line, range)?)),
            ["nullable"] => field.nullable = Versions::ALL,
            ["nullable", range] => field.nullable = versions_of(line, range)?,
            ["default", value] => field.default = Some((*value).to_owned()),
            ["ignorable"] => field.ignorable = true,
            _ => return Err(line.error(format!("`{attribute}` is no attribute"))),
        }
    }
    Ok(field)
}

fn type_of(word: &str) -> Type {
    match word {
        "bool" => Type::Bool,
        "int8" => Type::Int8,
        "int16" => Type::Int16,
        "uint16" => Type::Uint16,
        "int32" => Type::Int32,
        "uint32" => Type::Uint32,
        "int64" => Type::Int64,
        "float64" => Type::Float64,
        "uuid" => Type::Uuid,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "records" => Type::Records,
        _ => match word.strip_prefix("[]") {
            Some(element) => Type::Array(Box::new(type_of(element))),
            None => Type::Struct(word.to_owned()),
        },
    }
}

fn versions_of(line: &Line<'_>, word: &str) -> Result<Versions, DefinitionError> {
    if word == "none" {
        return Ok(Versions::NONE);
    }
    if let Some(first) = word.strip_suffix('+') {
        return Ok(Versions { first: number(line, first)?, last: i16::MAX });
    }
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    Ok(Versions { first: number(line, first)?, last: number(line, last)? })
}

fn number(line: &Line<'_>, word: &str) -> Result<i16, DefinitionError> {
    word.parse().map_err(|_| line.error(format!("`{word}` is no number")))
}
