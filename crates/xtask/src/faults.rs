//! Faults made on purpose against a running server: kills under load, and clients that mean no good.

mod canary;
mod copiers;
mod early_ack;
pub(crate) mod fairness;
pub(crate) mod hostile;
pub(crate) mod kill;
mod large_answers;
pub(crate) mod line;
mod offenders;
mod read_back;
pub(crate) mod transactions;
pub(crate) mod wire;
