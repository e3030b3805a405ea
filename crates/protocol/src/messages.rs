//! Every message of the protocol as a struct, generated from `definitions/`. One struct serves all versions of
//! its message: fields that a version lacks keep their defaults when read, and must have them when written.

#![allow(clippy::all, missing_docs, unused_parens, unused_mut, unreachable_pub)]

use bytes::Bytes;

use crate::api::ApiKey;
use crate::wire::{Counter, DecodeError, Decoder, EncodeError, Records, Sink, put_tag};
use crate::{Message, Request, Uuid};

include!(concat!(env!("OUT_DIR"), "/messages.rs"));

#[cfg(test)]
mod tests;
