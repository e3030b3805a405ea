//! Any message as a tree of named values, read by the definition texts alone: a fault in the generated codec
//! cannot hide itself here.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use bytes::Bytes;
use milena_protocol::definition::{self, Field, Message, Role, Type};
use milena_protocol::wire::{DecodeError, Decoder};
use milena_protocol::{DEFINITIONS, Uuid};

use crate::batch_view;

/// A value of a message.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Nothing, said as such.
    Null,
    /// True or false.
    Bool(bool),
    /// Any whole number.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A topic, directory or cluster id in binary.
    Uuid(Uuid),
    /// A string.
    Text(String),
    /// Bytes that are no record batches.
    Bytes(Bytes),
    /// Words of this crate, such as `valid` for a checksum.
    Word(String),
    /// Fields in wire order.
    Struct(Vec<(String, Value)>),
    /// Elements in wire order.
    List(Vec<Value>),
    /// The batches of a `records` field.
    Batches(Vec<Value>),
}

/// The two messages of an API.
pub struct Api {
    /// Kafka's name.
    pub name: String,
    /// What is asked.
    pub request: Message,
    /// What is answered.
    pub response: Message,
}

/// All APIs that have a definition, by their key.
pub fn apis() -> &'static BTreeMap<i16, Api> {
    static APIS: OnceLock<BTreeMap<i16, Api>> = OnceLock::new();
    APIS.get_or_init(|| {
        let definitions = DEFINITIONS.iter().map(|text| definition::parse(text).expect("the build has read it too"));
        definitions.filter_map(api).collect()
    })
}

fn api(definition: definition::Definition) -> Option<(i16, Api)> {
    let (name, key) = definition.api?;
    let mut messages = definition.messages.into_iter();
    let (request, response) = (messages.next()?, messages.next()?);
    assert!(request.role == Role::Request && response.role == Role::Response, "{name}: request first");
    Some((key, Api { name, request, response }))
}

/// Reads a message of that version from where `decoder` stands. Bytes behind it are left alone.
///
/// # Errors
/// When the bytes do not fit the definition.
pub fn decode(message: &Message, version: i16, decoder: &mut Decoder) -> Result<Value, DecodeError> {
    let flexible = message.flexible.contains(version);
    Reading { message, version, flexible }.fields(&message.structs[0].fields, decoder)
}

/// The tagged fields of a flexible header.
///
/// # Errors
/// When the bytes are no tagged fields.
pub fn decode_header_tags(decoder: &mut Decoder) -> Result<Vec<(String, Value)>, DecodeError> {
    let mut fields = Vec::new();
    decoder.tagged_fields(|decoder, tag| unknown_tag(decoder, tag, &mut fields))?;
    Ok(fields)
}

/// The size of a tagged field is known to the caller alone, so an unknown one is shown by its number.
fn unknown_tag(_: &mut Decoder, tag: u32, fields: &mut Vec<(String, Value)>) -> Result<bool, DecodeError> {
    fields.push((format!("UnknownTag{tag}"), Value::Word("present".to_owned())));
    Ok(false)
}

struct Reading<'a> {
    message: &'a Message,
    version: i16,
    flexible: bool,
}

impl Reading<'_> {
    fn fields(&self, fields: &[Field], decoder: &mut Decoder) -> Result<Value, DecodeError> {
        let mut values = Vec::new();
        let present = |field: &&Field| field.versions.contains(self.version);
        let tag_of = |field: &Field| field.tag.filter(|(_, versions)| versions.contains(self.version));
        for field in fields.iter().filter(present).filter(|field| tag_of(field).is_none()) {
            values.push((field.name.clone(), self.field(field, false, decoder)?));
        }
        if self.flexible {
            decoder.tagged_fields(|decoder, tag| {
                let tagged = |field: &&Field| tag_of(field).is_some_and(|(known, _)| known == tag);
                match fields.iter().filter(present).find(tagged) {
                    Some(field) => values.push((field.name.clone(), self.field(field, true, decoder)?)),
                    None => return unknown_tag(decoder, tag, &mut values),
                }
                Ok(true)
            })?;
        }
        Ok(Value::Struct(values))
    }

    fn field(&self, field: &Field, tagged: bool, decoder: &mut Decoder) -> Result<Value, DecodeError> {
        let value = match &field.kind {
            Type::Struct(name) if field.nullable.contains(self.version) => {
                self.nullable_struct(name, tagged, decoder)?.unwrap_or(Value::Null)
            }
            kind => self.value(kind, decoder)?,
        };
        let may_be_null = field.nullable.contains(self.version) || field.kind == Type::Records;
        if value == Value::Null && !may_be_null { Err(DecodeError::Length(-1)) } else { Ok(value) }
    }

    fn nullable_struct(&self, name: &str, tagged: bool, decoder: &mut Decoder) -> Result<Option<Value>, DecodeError> {
        if tagged {
            decoder.nullable_tagged_struct(|decoder| self.named(name, decoder))
        } else {
            decoder.nullable_struct(|decoder| self.named(name, decoder))
        }
    }

    fn value(&self, kind: &Type, decoder: &mut Decoder) -> Result<Value, DecodeError> {
        Ok(match kind {
            Type::Bool => Value::Bool(decoder.bool()?),
            Type::Int8 => Value::Int(decoder.i8()?.into()),
            Type::Int16 => Value::Int(decoder.i16()?.into()),
            Type::Uint16 => Value::Int(decoder.u16()?.into()),
            Type::Int32 => Value::Int(decoder.i32()?.into()),
            Type::Uint32 => Value::Int(decoder.u32()?.into()),
            Type::Int64 => Value::Int(decoder.i64()?),
            Type::Float64 => Value::Float(decoder.f64()?),
            Type::Uuid => Value::Uuid(decoder.uuid()?),
            Type::String => decoder.nullable_string(self.flexible)?.map_or(Value::Null, Value::Text),
            Type::Bytes => decoder.nullable_bytes(self.flexible)?.map_or(Value::Null, Value::Bytes),
            Type::Records => {
                decoder.nullable_bytes(self.flexible)?.map_or(Value::Null, |bytes| batch_view::view(&bytes))
            }
            Type::Struct(name) => self.named(name, decoder)?,
            Type::Array(element) => decoder
                .nullable_array(self.flexible, |decoder| self.value(element, decoder))?
                .map_or(Value::Null, Value::List),
        })
    }

    fn named(&self, name: &str, decoder: &mut Decoder) -> Result<Value, DecodeError> {
        let shape =
            self.message.structs.iter().find(|shape| shape.name == name).expect("a definition names its structs");
        self.fields(&shape.fields, decoder)
    }
}

#[cfg(test)]
mod tests {
    use milena_protocol::Message as _;
    use milena_protocol::messages::metadata_request::{MetadataRequest, MetadataRequestTopic};

    use super::*;

    #[test]
    fn definitions_alone_read_what_the_generated_code_wrote() {
        let topic = MetadataRequestTopic { topic_id: Uuid([7; 16]), name: None };
        let request = MetadataRequest { topics: Some(vec![topic]), ..MetadataRequest::default() };
        let mut decoder = Decoder::new(request.to_bytes(12).expect("it can be said"));
        let value = decode(&apis()[&3].request, 12, &mut decoder).expect("it can be read");
        assert_eq!(decoder.finish(), Ok(()));
        let topic = vec![("TopicId".to_owned(), Value::Uuid(Uuid([7; 16]))), ("Name".to_owned(), Value::Null)];
        let Value::Struct(fields) = value else { panic!("a message is a struct") };
        assert_eq!(fields[0], ("Topics".to_owned(), Value::List(vec![Value::Struct(topic)])));
        assert_eq!(fields[1], ("AllowAutoTopicCreation".to_owned(), Value::Bool(true)));
    }

    #[test]
    fn definitions_alone_read_every_message_that_kafka_wrote() {
        let definitions = DEFINITIONS.iter().map(|text| definition::parse(text).expect("the build has read it too"));
        let messages: BTreeMap<String, Message> = definitions
            .flat_map(|definition| definition.messages)
            .map(|message| (message.name.clone(), message))
            .collect();
        let mut read = 0;
        for line in include_str!("../../protocol/golden/messages.txt").lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, version, hex] = words.as_slice() else { panic!("name, version, bytes: {line}") };
            // Messages that no node serves have no definition here.
            let Some(message) = messages.get(*name) else { continue };
            let version = version.parse().expect("a version");
            if !message.versions.contains(version) {
                continue;
            }
            let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            let mut decoder = Decoder::new((0..hex.len()).step_by(2).map(byte).collect());
            let value = decode(message, version, &mut decoder);
            assert!(value.is_ok() && decoder.finish().is_ok(), "{name} {version}: {value:?}, {:?}", decoder.finish());
            read += 1;
        }
        assert!(read > 400, "only {read} messages were read");
    }

    #[test]
    fn a_tagged_struct_is_null_by_another_mark_than_a_plain_one() {
        let text = DEFINITIONS.iter().find(|text| text.contains("value ConsumerGroupMemberMetadataValue "));
        let definition = definition::parse(text.expect("it has a definition")).expect("the build has read it too");
        let bytes = b"\x01\x01\x02c\x02h\x01\x01\xff\xff\xff\xff\x01\x01\x00\x01\x00";
        let mut decoder = Decoder::new(Bytes::from_static(bytes));
        let Value::Struct(fields) = decode(&definition.messages[0], 0, &mut decoder).expect("Kafka wrote it") else {
            panic!("a message is a struct")
        };
        assert_eq!(decoder.finish(), Ok(()));
        assert_eq!(fields.last(), Some(&("ClassicMemberMetadata".to_owned(), Value::Null)));
    }

    #[test]
    fn null_where_it_is_not_allowed_is_an_error() {
        let mut decoder = Decoder::new(Bytes::from_static(&[0xff, 0xff, 0xff, 0xff]));
        assert!(decode(&apis()[&3].request, 0, &mut decoder).is_err());
    }
}
