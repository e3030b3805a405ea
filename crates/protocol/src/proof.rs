//! What the proof of the codec against Kafka's own classes needs (feature `all-messages`): every message by its name, made up
//! from a seed, written, read again, and told as JSON in the words of Kafka's converters, so that a field that was read into
//! another's place shows. It serves no node.

mod json;
mod values;

use bytes::Bytes;
pub use json::Json;
pub use values::Chance;

use crate::header::{RequestHeader, decode_response, request_frame, response_frame};
use crate::messages::{each_message, each_request};
use crate::unserved::each_unserved_message;
use crate::wire::{DecodeError, Decoder, EncodeError, Frame, Records, Segment, Sink};
use crate::{ApiKey, Message, Request, Uuid, messages, unserved};

/// A value that can be told and made up.
pub trait Prove {
    /// Writes the value as Kafka's JSON converter for that version would.
    fn tell(&self, version: i16, json: &mut Json);

    /// A value that the version can say.
    fn make_up(chance: &mut Chance, version: i16) -> Self;
}

/// What became of a message.
#[derive(Debug, PartialEq, Eq)]
pub struct Told {
    /// The message as we write it.
    pub bytes: Bytes,
    /// The message in words.
    pub json: String,
}

/// A message by its name.
pub struct Row {
    /// Kafka's name.
    pub name: &'static str,
    /// Oldest and newest version.
    pub versions: (i16, i16),
    /// First version that has compact lengths and tagged fields, and so the newer headers.
    pub flexible: i16,
    /// Reads bytes that the message fills, and forgets it.
    pub read: fn(Bytes, i16) -> Result<(), DecodeError>,
    /// Reads bytes that the message fills, and writes it again.
    pub recode: fn(Bytes, i16) -> Result<Result<Told, EncodeError>, DecodeError>,
    /// A message made up from a seed.
    pub make_up: fn(u64, i16) -> Result<Told, EncodeError>,
}

fn row<M: Message + Prove>() -> Row {
    Row {
        name: M::NAME,
        versions: (M::OLDEST, M::NEWEST),
        flexible: M::FLEXIBLE,
        read: |bytes, version| M::from_bytes(bytes, version).map(drop),
        recode: |bytes, version| Ok(told(&M::from_bytes(bytes, version)?, version)),
        make_up: |seed, version| told(&M::make_up(&mut Chance::of(seed), version), version),
    }
}

fn told<M: Message + Prove>(message: &M, version: i16) -> Result<Told, EncodeError> {
    let mut json = Json::default();
    message.tell(version, &mut json);
    Ok(Told { bytes: message.to_bytes(version)?, json: json.into_text() })
}

macro_rules! served {
    ($($message:ident)*) => { vec![$(row::<messages::$message>()),*] };
}

macro_rules! others {
    ($($message:ident)*) => { vec![$(row::<unserved::$message>()),*] };
}

/// Every message that has a definition.
pub fn rows() -> Vec<Row> {
    let mut rows: Vec<Row> = each_message!(served);
    rows.extend(each_unserved_message!(others));
    rows
}

/// An API that has a key of ours, with its headers.
pub struct Api {
    /// Its key.
    pub key: ApiKey,
    /// Its request's name in Kafka.
    pub request: &'static str,
    /// Reads a request with its header, and makes a whole frame of what was read.
    pub recode_request: fn(Bytes) -> Result<Bytes, String>,
    /// The same for a response.
    pub recode_response: fn(Bytes, i16) -> Result<Bytes, String>,
}

fn api<R: Request>() -> Api {
    Api {
        key: R::KEY,
        request: R::NAME,
        recode_request: |frame| recode_request::<R>(frame),
        recode_response: |frame, version| {
            let (correlation_id, response) = decode_response::<R>(frame, version).map_err(|error| error.to_string())?;
            joined(response_frame(R::KEY, &response, version, correlation_id))
        },
    }
}

fn recode_request<R: Request>(frame: Bytes) -> Result<Bytes, String> {
    let mut decoder = Decoder::new(frame);
    let mut read = || {
        let mut header = RequestHeader::decode_prefix(&mut decoder)?;
        let api = ApiKey::from_number(header.key).ok_or(DecodeError::Length(header.key.into()))?;
        header.decode_rest(&mut decoder, api)?;
        let request = R::decode(&mut decoder, header.version)?;
        decoder.finish()?;
        Ok::<_, DecodeError>((header, request))
    };
    let (header, request) = read().map_err(|error| error.to_string())?;
    joined(request_frame(&request, header.version, header.correlation_id, header.client_id.as_deref()))
}

fn joined(segments: Result<Vec<Segment>, EncodeError>) -> Result<Bytes, String> {
    let mut frame = Frame::default();
    for segment in segments.map_err(|error| error.to_string())? {
        match segment {
            Segment::Bytes(bytes) => frame.put(&bytes),
            Segment::External(external) => return Err(format!("{external:?} is nowhere")),
        }
    }
    Ok(frame.into_bytes())
}

macro_rules! requests {
    ($($request:ident)*) => { vec![$(api::<messages::$request>()),*] };
}

/// Every API that has a key of ours.
pub fn apis() -> Vec<Api> {
    each_request!(requests)
}
