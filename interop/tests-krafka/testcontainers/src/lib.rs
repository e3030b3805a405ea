//! In the place of the crate of this name: what krafka's tests ask of it, with a broker that already runs where they would start
//! one in a container. `BROKER_UNDER_TEST` names it, `127.0.0.1:PORT`.

use core::{ContainerPort, ContainerState, ExecCommand, WaitFor};
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::time::Duration;

pub mod core {
    use super::{Result, port_under_test};

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum ContainerPort {
        Tcp(u16),
    }

    impl ContainerPort {
        pub fn as_u16(self) -> u16 {
            let Self::Tcp(port) = self;
            port
        }
    }

    #[derive(Debug)]
    pub struct ContainerState;

    impl ContainerState {
        /// The port of the broker, for whichever port of a container.
        pub fn host_port_ipv4(&self, _: ContainerPort) -> Result<u16> {
            port_under_test()
        }
    }

    /// A program for a container: there is none to run it.
    #[derive(Debug)]
    pub struct ExecCommand;

    impl ExecCommand {
        pub fn new(_: impl IntoIterator<Item = impl Into<String>>) -> Self {
            Self
        }

        #[must_use]
        pub fn with_container_ready_conditions(self, _: Vec<WaitFor>) -> Self {
            self
        }
    }

    /// The broker is ready before the tests begin.
    #[derive(Debug)]
    pub struct WaitFor;

    impl WaitFor {
        pub fn message_on_stdout(_: impl AsRef<[u8]>) -> Self {
            Self
        }
    }
}

pub mod runners {
    use super::{ContainerAsync, Image, Result};

    #[expect(async_fn_in_trait, reason = "as in the crate whose place this takes")]
    pub trait AsyncRunner<I: Image> {
        async fn start(self) -> Result<ContainerAsync<I>>;
    }

    impl<I: Image> AsyncRunner<I> for I {
        async fn start(self) -> Result<ContainerAsync<I>> {
            Ok(ContainerAsync { _image: self })
        }
    }
}

pub type Result<T> = std::result::Result<T, TestcontainersError>;

#[derive(Debug)]
pub struct TestcontainersError(String);

impl fmt::Display for TestcontainersError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for TestcontainersError {}

/// What would be started.
pub trait Image: Sized + Sync + Send {
    fn name(&self) -> &str;
    fn tag(&self) -> &str;
    fn ready_conditions(&self) -> Vec<WaitFor>;

    fn env_vars(&self) -> impl IntoIterator<Item = (impl Into<Cow<'_, str>>, impl Into<Cow<'_, str>>)> {
        std::iter::empty::<(String, String)>()
    }

    fn entrypoint(&self) -> Option<&str> {
        None
    }

    fn cmd(&self) -> impl IntoIterator<Item = impl Into<Cow<'_, str>>> {
        std::iter::empty::<String>()
    }

    fn expose_ports(&self) -> &[ContainerPort] {
        &[]
    }

    fn exec_after_start(&self, _: ContainerState) -> Result<Vec<ExecCommand>> {
        Ok(Vec::new())
    }
}

/// How it would be started: nothing of it matters to a broker that runs.
pub trait ImageExt: Image {
    #[must_use]
    fn with_labels(self, _: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>) -> Self {
        self
    }

    #[must_use]
    fn with_startup_timeout(self, _: Duration) -> Self {
        self
    }
}

impl<I: Image> ImageExt for I {}

#[derive(Debug)]
pub struct ContainerAsync<I> {
    _image: I,
}

impl<I: Image> ContainerAsync<I> {
    pub async fn get_host_port_ipv4(&self, _: ContainerPort) -> Result<u16> {
        port_under_test()
    }
}

fn port_under_test() -> Result<u16> {
    let address = std::env::var("BROKER_UNDER_TEST").unwrap_or_default();
    let port = address.strip_prefix("127.0.0.1:").and_then(|port| port.parse().ok());
    port.ok_or_else(|| TestcontainersError(format!("BROKER_UNDER_TEST={address}: not 127.0.0.1:PORT")))
}
