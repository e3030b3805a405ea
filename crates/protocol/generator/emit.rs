//! Writes Rust for definitions: structs with defaults, `encode` and `decode` for every version.

use std::fmt::Write;

use crate::definition::{Definition, Field, Message, Role, Struct, Type, Versions, struct_name};
use crate::prove::prove;

/// All messages that a node serves, each in a module of its own, with the message itself re-exported.
pub(crate) fn messages(definitions: &[Definition], proof: bool) -> String {
    let mut out = String::new();
    modules(definitions, proof, &mut out);
    for definition in definitions.iter().filter(|definition| definition.api.is_some()) {
        request_trait(definition, &mut out);
    }
    record_union(definitions, &mut out);
    each_message("each_message", &names(definitions, |_| true), &mut out);
    each_message("each_request", &names(definitions, |message| message.role == Role::Request), &mut out);
    out
}

fn names(definitions: &[Definition], wanted: impl Fn(&Message) -> bool) -> String {
    let messages = definitions.iter().flat_map(|definition| &definition.messages);
    messages.filter(|message| wanted(message)).map(|message| format!("{} ", message.name)).collect()
}

/// The messages that no node serves yet: their modules alone, so that they change nothing for those that it does.
pub(crate) fn unserved(definitions: &[Definition]) -> String {
    let mut out = String::new();
    modules(definitions, true, &mut out);
    each_message("each_unserved_message", &names(definitions, |_| true), &mut out);
    out
}

fn modules(definitions: &[Definition], proof: bool, out: &mut String) {
    for message in definitions.iter().flat_map(|definition| &definition.messages) {
        let module = snake(&message.name);
        let _ = writeln!(out, "pub use self::{module}::{name};", name = message.name);
        let _ = writeln!(out, "/// [`{}`] and the structs in it.\npub mod {module} {{\nuse super::*;\n", message.name);
        for (at, shape) in message.structs.iter().enumerate() {
            Emitter { message, shape, whole: at == 0 }.write(out);
        }
        if proof {
            prove(message, out);
        }
        let _ = writeln!(out, "}}");
    }
}

/// A macro for tests and the proof that gives the names of messages to another macro.
fn each_message(name: &str, names: &str, out: &mut String) {
    let _ = writeln!(
        out,
        "#[cfg(any(test, feature = \"all-messages\"))]\n#[allow(unused_macros)]\n\
         macro_rules! {name} {{\n($with:ident) => {{ $with! {{ {names} }} }};\n}}\n\
         #[cfg(feature = \"all-messages\")]\npub(crate) use {name};"
    );
}

fn request_trait(definition: &Definition, out: &mut String) {
    let named = |role| definition.messages.iter().find(|message| message.role == role).map(|message| &message.name);
    let (Some((api, _)), Some(request), Some(response)) =
        (&definition.api, named(Role::Request), named(Role::Response))
    else {
        panic!("an API needs a request and a response");
    };
    let _ = writeln!(
        out,
        "impl Request for {request} {{\nconst KEY: ApiKey = ApiKey::{api};\ntype Response = {response};\n}}"
    );
}

/// The enum over all metadata records, by their type number.
fn record_union(definitions: &[Definition], out: &mut String) {
    let records: Vec<&Message> = definitions
        .iter()
        .flat_map(|definition| &definition.messages)
        .filter(|message| message.role == Role::Record)
        .collect();
    let mut each = |head: &str, line: &dyn Fn(&Message) -> String, tail: &str| {
        let lines: String = records.iter().map(|message| line(message)).collect();
        let _ = writeln!(out, "{head}\n{lines}{tail}");
    };
    each(
        "/// Any metadata record.\n#[derive(Debug, Clone, PartialEq)]\npub enum MetadataRecord {",
        &|message| format!("/// {}\n{}({}),\n", message.about, variant(message), message.name),
        "}",
    );
    each(
        "impl MetadataRecord {\n/// The number of the record's type.\npub fn kind(&self) -> u32 {\nmatch self {",
        &|message| format!("MetadataRecord::{}(_) => {},\n", variant(message), message.key),
        "}\n}",
    );
    each(
        "/// Writes the record's fields.\npub fn encode<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError> {\nmatch self {",
        &|message| format!("MetadataRecord::{}(record) => record.encode(sink, version),\n", variant(message)),
        "}\n}",
    );
    each(
        "/// Reads the fields of a record of type `kind`; `None` where no such type is known.\n\
         pub fn decode(decoder: &mut Decoder, kind: u32, version: i16) -> Result<Option<MetadataRecord>, DecodeError> {\nOk(Some(match kind {",
        &|message| {
            format!(
                "{} => MetadataRecord::{}({}::decode(decoder, version)?),\n",
                message.key,
                variant(message),
                message.name
            )
        },
        "_ => return Ok(None),\n}))\n}\n}",
    );
    for message in &records {
        let _ = writeln!(
            out,
            "impl From<{name}> for MetadataRecord {{\nfn from(record: {name}) -> Self {{\nMetadataRecord::{variant}(record)\n}}\n}}",
            name = message.name,
            variant = variant(message)
        );
    }
}

fn variant(message: &Message) -> &str {
    message.name.strip_suffix("Record").unwrap_or(&message.name)
}

/// The table of APIs.
pub(crate) fn apis(definitions: &[Definition]) -> String {
    let mut out = String::from(
        "/// The requests of the protocol that have a definition, by their number on the wire.\n\
         #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\npub enum ApiKey {\n",
    );
    let mut rows = String::new();
    let mut all = String::new();
    for definition in definitions {
        let Some((name, key)) = &definition.api else { continue };
        let [request, response] = definition.messages.as_slice() else { panic!("{name} needs two messages") };
        assert_eq!(request.versions, response.versions, "{name}: request and response differ in versions");
        let _ = writeln!(out, "/// {}\n{name} = {key},", request.about);
        let Versions { first, last } = request.versions;
        let (flexible, answer_flexible) = (request.flexible.first, response.flexible.first);
        let _ = writeln!(
            rows,
            "ApiKey::{name} => Api {{ name: \"{name}\", oldest: {first}, newest: {last}, \
             flexible: {flexible}, response_flexible: {answer_flexible} }},"
        );
        let _ = write!(all, "ApiKey::{name}, ");
    }
    let _ = write!(
        out,
        "}}\nimpl ApiKey {{\n/// Every key, in the order of their numbers.\npub const ALL: &'static [ApiKey] = &[{all}];\n\
         pub(crate) const fn row(self) -> Api {{\nmatch self {{\n{rows}}}\n}}\n}}\n"
    );
    out
}

/// Writes one struct of a message.
struct Emitter<'a> {
    message: &'a Message,
    shape: &'a Struct,
    /// Whether the struct is the message itself.
    whole: bool,
}

impl Emitter<'_> {
    fn write(&self, out: &mut String) {
        let Struct { name, fields } = self.shape;
        let about = if self.whole { self.message.about.clone() } else { format!("A part of `{}`.", self.message.name) };
        let _ = writeln!(out, "/// {about}\n#[derive(Debug, Clone, PartialEq)]\npub struct {name} {{");
        for field in fields {
            let _ =
                writeln!(out, "/// {}\npub {}: {},", about_field(field, self.message), ident(field), rust_type(field));
        }
        let _ = writeln!(out, "}}\nimpl Default for {name} {{\nfn default() -> Self {{\n{name} {{");
        for field in fields {
            let _ = writeln!(out, "{}: {},", ident(field), default(field));
        }
        let _ = writeln!(out, "}}\n}}\n}}");
        let (encode, decode) = (self.encode_body(), self.decode_body());
        let tags = self.tag_functions();
        if self.whole {
            let Versions { first, last } = self.message.versions;
            let _ = writeln!(
                out,
                "impl Message for {name} {{\nconst NAME: &'static str = \"{name}\";\n\
                 const OLDEST: i16 = {first};\nconst NEWEST: i16 = {last};\nconst FLEXIBLE: i16 = {flexible};\n\
                 fn encode<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError> {{\n\
                 if !(Self::OLDEST..=Self::NEWEST).contains(&version) {{\n\
                 return Err(EncodeError::Version {{ message: \"{name}\", version }});\n}}\n{encode}}}\n\
                 fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{\n\
                 if !(Self::OLDEST..=Self::NEWEST).contains(&version) {{\n\
                 return Err(DecodeError::Version {{ message: \"{name}\", version }});\n}}\n{decode}}}\n{throttle}}}",
                flexible = self.message.flexible.first,
                throttle = self.throttle(),
            );
            if !tags.is_empty() {
                let _ = writeln!(out, "impl {name} {{\n{tags}}}");
            }
        } else {
            let _ = writeln!(
                out,
                "impl {name} {{\nfn encode<S: Sink>(&self, sink: &mut S, version: i16) -> Result<(), EncodeError> {{\n{encode}}}\n\
                 fn decode(decoder: &mut Decoder, version: i16) -> Result<Self, DecodeError> {{\n{decode}}}\n{tags}}}"
            );
        }
    }

    /// The way to the field that every throttled answer has.
    fn throttle(&self) -> &'static str {
        match self.shape.fields.iter().any(|field| field.name == "ThrottleTimeMs") {
            true => "fn throttle_time_ms(&mut self) -> Option<&mut i32> {\nSome(&mut self.throttle_time_ms)\n}\n",
            false => "",
        }
    }

    /// `true`, `false`, or the test whether `version` is flexible.
    fn flexible(&self) -> String {
        condition(self.message.flexible, self.message.versions).unwrap_or_else(|| "true".to_owned())
    }

    fn encode_body(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "let flexible = {};", self.flexible());
        for field in &self.shape.fields {
            self.encode_plain(field, &mut out);
        }
        self.encode_tags(&mut out);
        let _ = writeln!(out, "let _ = (flexible, version, sink);\nOk(())");
        out
    }

    /// A field outside the tagged section; also the check that nothing is said that the version cannot say.
    fn encode_plain(&self, field: &Field, out: &mut String) {
        let present = condition(field.versions, self.message.versions);
        let untagged = untagged(field);
        if let Some(untagged) = untagged {
            let place = format!("self.{}", ident(field));
            let mut body = String::new();
            self.null_check(field, &mut body);
            body += &self.encode_value(field, &place);
            match condition(untagged, self.message.versions) {
                None => *out += &body,
                Some(test) if test == "false" => {}
                Some(test) => {
                    let _ = writeln!(out, "if {test} {{\n{body}}}");
                }
            }
        }
        if let (Some(test), false) = (present, field.ignorable) {
            let _ = writeln!(
                out,
                "if !({test}) && {differs} {{\nreturn Err(EncodeError::NotInVersion {{ message: \"{}\", field: \"{}\", version }});\n}}",
                self.shape.name,
                field.name,
                differs = differs(field),
            );
        }
    }

    fn null_check(&self, field: &Field, out: &mut String) {
        if field.nullable == Versions::NONE || field.kind == Type::Records {
            return;
        }
        if let Some(test) = condition(field.nullable, self.message.versions) {
            let _ = writeln!(
                out,
                "if self.{}.is_none() && !({test}) {{\nreturn Err(EncodeError::Null {{ message: \"{}\", field: \"{}\", version }});\n}}",
                ident(field),
                self.shape.name,
                field.name
            );
        }
    }

    fn encode_value(&self, field: &Field, place: &str) -> String {
        let nullable = field.nullable != Versions::NONE;
        match &field.kind {
            Type::String if nullable => format!("sink.put_string(flexible, {place}.as_deref())?;\n"),
            Type::String => format!("sink.put_string(flexible, Some(&{place}))?;\n"),
            Type::Bytes if nullable => format!("sink.put_bytes(flexible, {place}.as_ref())?;\n"),
            Type::Bytes => format!("sink.put_bytes(flexible, Some(&{place}))?;\n"),
            Type::Records => format!("sink.put_records(flexible, &{place})?;\n"),
            Type::Struct(_) if nullable => {
                let (null, present) = struct_marks(field);
                format!(
                    "match &{place} {{\nNone => sink.{null},\nSome(value) => {{\nsink.{present};\nvalue.encode(sink, version)?;\n}}\n}}\n"
                )
            }
            Type::Struct(_) => format!("{place}.encode(sink, version)?;\n"),
            Type::Array(element) => {
                let elements =
                    if nullable { format!("{place}.as_deref().unwrap_or_default()") } else { format!("&{place}") };
                let count =
                    if nullable { format!("{place}.as_ref().map(Vec::len)") } else { format!("Some({place}.len())") };
                format!(
                    "sink.put_length(flexible, true, {count})?;\nfor element in {elements} {{\n{}}}\n",
                    encode_element(element)
                )
            }
            simple => format!("sink.put_{}({place});\n", primitive(simple)),
        }
    }

    fn encode_tags(&self, out: &mut String) {
        if self.flexible() == "false" {
            return;
        }
        let tagged = self.tagged();
        let _ = writeln!(out, "if flexible {{");
        if tagged.is_empty() {
            let _ = writeln!(out, "sink.put_unsigned_varint(0);\n}}");
            return;
        }
        for (tag, versions, field) in &tagged {
            let within =
                condition(*versions, self.message.versions).map_or(String::new(), |test| format!("({test}) && "));
            let _ = writeln!(out, "let tag{tag} = {within}{};", differs(field));
        }
        let sum: Vec<String> = tagged.iter().map(|(tag, ..)| format!("u32::from(tag{tag})")).collect();
        let _ = writeln!(out, "sink.put_unsigned_varint({});", sum.join(" + "));
        for (tag, ..) in &tagged {
            let _ = writeln!(
                out,
                "if tag{tag} {{\nlet mut counter = Counter::default();\nself.encode_tag{tag}(&mut counter, version, flexible)?;\n\
                 put_tag(sink, {tag}, &counter)?;\nself.encode_tag{tag}(sink, version, flexible)?;\n}}"
            );
        }
        let _ = writeln!(out, "}}");
    }

    /// One function per tagged field: it runs twice, to count and to write.
    fn tag_functions(&self) -> String {
        let mut out = String::new();
        if self.flexible() == "false" {
            return out;
        }
        for (tag, _, field) in self.tagged() {
            let mut body = String::new();
            self.null_check(field, &mut body);
            body += &self.encode_value(field, &format!("self.{}", ident(field)));
            let _ = writeln!(
                out,
                "fn encode_tag{tag}<S: Sink>(&self, sink: &mut S, version: i16, flexible: bool) -> Result<(), EncodeError> {{\n\
                 let _ = (version, flexible);\n{body}Ok(())\n}}"
            );
        }
        out
    }

    fn tagged(&self) -> Vec<(u32, Versions, &Field)> {
        let mut tagged: Vec<_> = self
            .shape
            .fields
            .iter()
            .filter_map(|field| field.tag.map(|(tag, versions)| (tag, versions, field)))
            .filter(|(_, versions, _)| !versions.misses(self.message.versions))
            .collect();
        tagged.sort_by_key(|(tag, ..)| *tag);
        tagged
    }

    fn decode_body(&self) -> String {
        let mut out = String::new();
        let _ = writeln!(out, "let flexible = {};\nlet mut value = Self::default();", self.flexible());
        for field in &self.shape.fields {
            let Some(untagged) = untagged(field) else { continue };
            let line = format!("value.{} = {};\n", ident(field), self.decode_value(field));
            match condition(untagged, self.message.versions) {
                None => out += &line,
                Some(test) if test == "false" => {}
                Some(test) => {
                    let _ = writeln!(out, "if {test} {{\n{line}}}");
                }
            }
        }
        if self.flexible() != "false" {
            let _ = writeln!(
                out,
                "if flexible {{\ndecoder.tagged_fields(|decoder, tag| {{\nlet _ = &decoder;\nmatch tag {{"
            );
            for (tag, versions, field) in self.tagged() {
                let guard =
                    condition(versions, self.message.versions).map_or(String::new(), |test| format!(" if {test}"));
                let _ = writeln!(out, "{tag}{guard} => value.{} = {},", ident(field), self.decode_value(field));
            }
            let _ = writeln!(out, "_ => return Ok(false),\n}}\n#[allow(unreachable_code)]\nOk(true)\n}})?;\n}}");
        }
        let _ = writeln!(out, "let _ = (flexible, version, decoder);\nOk(value)");
        out
    }

    fn decode_value(&self, field: &Field) -> String {
        let nullable = field.nullable != Versions::NONE;
        let read = match &field.kind {
            Type::String if nullable => "decoder.nullable_string(flexible)?".to_owned(),
            Type::String => "decoder.string(flexible)?".to_owned(),
            Type::Bytes if nullable => "decoder.nullable_bytes(flexible)?".to_owned(),
            Type::Bytes => "decoder.bytes(flexible)?".to_owned(),
            Type::Records => return "decoder.records(flexible)?".to_owned(),
            Type::Struct(name) if nullable => {
                let method = if untagged(field).is_some() { "nullable_struct" } else { "nullable_tagged_struct" };
                format!("decoder.{method}(|decoder| {name}::decode(decoder, version))?")
            }
            Type::Struct(name) => format!("{name}::decode(decoder, version)?"),
            Type::Array(element) => {
                let method = if nullable { "nullable_array" } else { "array" };
                format!("decoder.{method}(flexible, |decoder| {})?", decode_element(element))
            }
            simple => format!("decoder.{}()?", primitive(simple)),
        };
        match condition(field.nullable, self.message.versions) {
            Some(test) if nullable && test != "false" => {
                format!(
                    "{{\nlet read = {read};\nif read.is_none() && !({test}) {{\nreturn Err(DecodeError::Length(-1));\n}}\nread\n}}"
                )
            }
            _ => read,
        }
    }
}

/// The versions in which a field stands in the fixed part, if there are any.
fn untagged(field: &Field) -> Option<Versions> {
    match field.tag {
        None => Some(field.versions),
        Some((_, tagged)) if tagged.covers(field.versions) => None,
        Some((_, tagged)) => Some(Versions { first: field.versions.first, last: tagged.first - 1 }),
    }
}

/// What stands before a struct that may be null: for null, and for a struct. A tagged one is marked otherwise.
fn struct_marks(field: &Field) -> (&'static str, &'static str) {
    match (untagged(field), field.tag) {
        (Some(_), None) => ("put_i8(-1)", "put_i8(1)"),
        (None, _) => ("put_unsigned_varint(0)", "put_unsigned_varint(1)"),
        (Some(_), Some(_)) => panic!("{}: a nullable struct that becomes tagged does not occur", field.name),
    }
}

/// The Rust test whether `version` lies in `range`, given that it lies in `known`; `None` when it always does.
pub(crate) fn condition(range: Versions, known: Versions) -> Option<String> {
    if range.misses(known) {
        return Some("false".to_owned());
    }
    match (range.first <= known.first, range.last >= known.last) {
        (true, true) => None,
        (true, false) => Some(format!("version <= {}", range.last)),
        (false, true) => Some(format!("version >= {}", range.first)),
        (false, false) => Some(format!("({}..={}).contains(&version)", range.first, range.last)),
    }
}

fn encode_element(element: &Type) -> String {
    match element {
        Type::String => "sink.put_string(flexible, Some(element))?;\n".to_owned(),
        Type::Bytes => "sink.put_bytes(flexible, Some(element))?;\n".to_owned(),
        Type::Struct(_) => "element.encode(sink, version)?;\n".to_owned(),
        Type::Array(_) | Type::Records => panic!("arrays of arrays or records do not occur"),
        simple => format!("sink.put_{}(*element);\n", primitive(simple)),
    }
}

fn decode_element(element: &Type) -> String {
    match element {
        Type::String => "decoder.string(flexible)".to_owned(),
        Type::Bytes => "decoder.bytes(flexible)".to_owned(),
        Type::Struct(name) => format!("{name}::decode(decoder, version)"),
        Type::Array(_) | Type::Records => panic!("arrays of arrays or records do not occur"),
        simple => format!("decoder.{}()", primitive(simple)),
    }
}

fn primitive(kind: &Type) -> &'static str {
    match kind {
        Type::Bool => "bool",
        Type::Int8 => "i8",
        Type::Int16 => "i16",
        Type::Uint16 => "u16",
        Type::Int32 => "i32",
        Type::Uint32 => "u32",
        Type::Int64 => "i64",
        Type::Float64 => "f64",
        Type::Uuid => "uuid",
        Type::String | Type::Bytes | Type::Records | Type::Struct(_) | Type::Array(_) => {
            unreachable!("not a primitive")
        }
    }
}

fn bare_type(kind: &Type) -> String {
    match kind {
        Type::String => "String".to_owned(),
        Type::Bytes => "Bytes".to_owned(),
        Type::Records => "Records".to_owned(),
        Type::Uuid => "Uuid".to_owned(),
        Type::Struct(name) => name.clone(),
        Type::Array(element) => format!("Vec<{}>", bare_type(element)),
        simple => primitive(simple).to_owned(),
    }
}

fn rust_type(field: &Field) -> String {
    let bare = bare_type(&field.kind);
    if field.nullable != Versions::NONE && field.kind != Type::Records { format!("Option<{bare}>") } else { bare }
}

fn default(field: &Field) -> String {
    let nullable = field.nullable != Versions::NONE && field.kind != Type::Records;
    match (&field.default, &field.kind) {
        (Some(text), _) if text == "null" => "None".to_owned(),
        (Some(text), Type::String) => format!("{text:?}.to_owned()"),
        (Some(text), Type::Float64) => format!("{text}f64"),
        (Some(text), _) => text.clone(),
        (None, Type::Records) => "Records::Null".to_owned(),
        (None, _) if nullable => "Some(Default::default())".to_owned(),
        (None, _) => "Default::default()".to_owned(),
    }
}

/// The test whether a field holds something other than its default.
pub(crate) fn differs(field: &Field) -> String {
    let place = format!("self.{}", ident(field));
    match (&field.default, &field.kind) {
        (Some(text), _) if text == "null" => format!("{place}.is_some()"),
        (None, Type::String | Type::Bytes | Type::Array(_)) if field.nullable == Versions::NONE => {
            format!("!{place}.is_empty()")
        }
        (None, Type::Bool) => place,
        (Some(text), Type::Bool) if text == "false" => place,
        (Some(text), Type::Bool) if text == "true" => format!("!{place}"),
        _ => format!("{place} != {}", typed_default(field)),
    }
}

/// The default with its type spelled out, so that a comparison can be inferred.
fn typed_default(field: &Field) -> String {
    match default(field) {
        text if text == "Default::default()" => format!("<{}>::default()", rust_type(field)),
        text => text,
    }
}

fn about_field(field: &Field, message: &Message) -> String {
    let mut about = format!("`{}`", field.name);
    match condition(field.versions, message.versions) {
        None => {}
        Some(test) if test == "false" => about += ", in no version that is left",
        Some(_) if field.versions.last >= message.versions.last => {
            let _ = write!(about, ", since version {}", field.versions.first);
        }
        Some(_) => {
            let _ = write!(
                about,
                ", in versions {} to {}",
                field.versions.first.max(message.versions.first),
                field.versions.last
            );
        }
    }
    if struct_name(&field.kind).is_none() && default(field) != "Default::default()" && field.kind != Type::Records {
        let _ = write!(about, "; default `{}`", field.default.as_deref().unwrap_or("empty"));
    }
    about + "."
}

pub(crate) fn ident(field: &Field) -> String {
    match snake(&field.name).as_str() {
        keyword @ ("type" | "match" | "self") => format!("{keyword}_"),
        name => name.to_owned(),
    }
}

/// `KRaftVersion` becomes `kraft_version`, `TopicId` becomes `topic_id`.
fn snake(name: &str) -> String {
    let name = name.replace("KRaft", "Kraft");
    let mut out = String::new();
    for character in name.chars() {
        if character.is_ascii_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(character.to_ascii_lowercase());
    }
    out
}
