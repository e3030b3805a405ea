//! The table of APIs: keys, versions, and which header a version has.

include!(concat!(env!("OUT_DIR"), "/apis.rs"));

/// One row of the table.
pub(crate) struct Api {
    name: &'static str,
    oldest: i16,
    newest: i16,
    /// First version with a flexible request.
    flexible: i16,
    /// First version with a flexible response.
    response_flexible: i16,
}

impl ApiKey {
    /// The API with that number, if it has a definition.
    pub fn from_number(number: i16) -> Option<ApiKey> {
        ApiKey::ALL.iter().copied().find(|key| *key as i16 == number)
    }

    /// Kafka's name of the API.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Oldest version that is defined.
    pub fn oldest(self) -> i16 {
        self.row().oldest
    }

    /// Newest version that is defined.
    pub fn newest(self) -> i16 {
        self.row().newest
    }

    /// 2 where the request is flexible, else 1. (Version 0 was ControlledShutdown's alone.)
    pub fn request_header_version(self, version: i16) -> i16 {
        if version >= self.row().flexible { 2 } else { 1 }
    }

    /// 1 where the response is flexible, else 0; always 0 for ApiVersions, since a client cannot know yet
    /// what the broker speaks (KIP-511).
    pub fn response_header_version(self, version: i16) -> i16 {
        let flexible = self != ApiKey::ApiVersions && version >= self.row().response_flexible;
        i16::from(flexible)
    }
}
