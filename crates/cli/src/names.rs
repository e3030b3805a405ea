//! Names on the command line, refused where no broker could take them.

use milena_metadata::topic_name;

/// A topic's name.
pub(crate) fn topic(text: &str) -> Result<String, String> {
    match topic_name::validate(text) {
        Ok(()) => Ok(text.to_owned()),
        Err(_) => {
            Err("a topic's name has 1 to 249 letters, digits, dots, underscores and hyphens, and is neither . nor .."
                .to_owned())
        }
    }
}

/// The id of a group, a cluster or a transactional producer.
pub(crate) fn id(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.chars().any(char::is_control) {
        true => Err("an id is not empty, and has no line breaks".to_owned()),
        false => Ok(text.to_owned()),
    }
}

/// `HOST:PORT` to listen at; without a host it is every address of this machine.
pub(crate) fn listen(text: &str) -> Result<String, String> {
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    match text.rsplit_once(':') {
        Some((_, port)) if is_port(port) => Ok(text.to_owned()),
        Some((_, port)) => Err(format!("\"{port}\" is no port; ports are the numbers from 0 to 65535")),
        None => Err("it must be HOST:PORT, like 127.0.0.1:9092".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_broker_takes_are_refused() {
        assert!(topic("a.b").is_ok() && topic("").is_err() && topic("a b").is_err() && topic("..").is_err());
        assert!(id("a b").is_ok() && id("").is_err() && id(" ").is_err() && id("a\nb").is_err());
    }

    #[test]
    fn a_place_to_listen_at_has_a_port() {
        assert!(listen(":9092").is_ok() && listen("[::1]:0").is_ok());
        assert!(listen("localhost").is_err() && listen("localhost:99999").is_err() && listen("").is_err());
    }
}
