//! The project's own tasks, started as `cargo xtask NAME`. It depends on none of the other crates: it judges them.

mod codec;
mod counts;
mod dump_log;
mod faults;
mod finding;
mod interop;
mod limits;
mod load;
mod node;
mod programs;
mod repository;
mod rust_text;
mod shell;
mod tidy;
mod twin;
mod verify;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask NAME

  verify                            static checks, writes nothing
  fix                               formats, mends what clippy can mend by itself, writes the reference pages
  tidy                              a mirror: the longest functions and files, vague names, words to say otherwise
  interop NAME|all|list [--bootstrap HOST:PORT]
                                    real clients against Milena, or against the broker given
  interop dump-log [DIRECTORY]      Kafka's dump-log reads what the last interop run left behind
  interop codec [--seed N]          every message at every version, there and back through Kafka's own classes
  twin [replay [FILTER]]            the same requests to Milena and, as recorded, to Apache Kafka
  twin ARGUMENT..                   anything else that milena-twin understands, for example record
  faults kill [--rounds N] [--plant early-ack]
                                    kill -9 under load; nothing acknowledged may be missing
  faults transactions [--records N] [--kills N] [--sharing partitions|group]
                                    kill -9 of clients and server; what was moved in transactions is there once
  faults hostile [--connections N]  broken frames, slow readers, large answers, floods of connections
  faults fairness [--attack WORD]   what honest clients wait while others want everything
  load groups [--members N]         groups of ten members each: memory, heartbeats, commits, rebalances, restart
  load consumers [--members N]      groups that the broker assigns: memory, heartbeats in a large group
  load rebalance [--bootstrap NAME=HOST:PORT,..] [--rounds N] [--heartbeat-ms N]
                                    how long partitions have no reader when one of fifty members leaves, in both
                                    group protocols; brokers in turn
  limits                            ready within 100 ms, idle below 40 MB
  counts LOG [FAILED-PART..]        adds up what passed per suite in LOG, and holds it against .ci/floor.txt";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["verify"] => verify::verify(),
        ["fix"] => verify::fix(),
        ["tidy"] => tidy::tidy(),
        ["interop", "dump-log", rest @ ..] => dump_log::dump_log(rest),
        ["interop", "codec", rest @ ..] => codec::codec(rest),
        ["interop", rest @ ..] => interop::interop(rest),
        ["twin", rest @ ..] => twin::twin(rest),
        ["faults", "kill", rest @ ..] => faults::kill::kill(rest),
        ["faults", "transactions", rest @ ..] => faults::transactions::transactions(rest),
        ["faults", "hostile", rest @ ..] => faults::hostile::hostile(rest),
        ["faults", "fairness", rest @ ..] => faults::fairness::fairness(rest),
        ["load", "groups", rest @ ..] => load::groups::groups(rest),
        ["load", "consumers", rest @ ..] => load::consumers::consumers(rest),
        ["load", "rebalance", rest @ ..] => load::rebalance::rebalance(rest),
        ["limits"] => limits::limits(),
        ["counts", rest @ ..] => counts::counts(rest),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            if !reason.is_empty() {
                eprintln!("xtask: {reason}");
            }
            ExitCode::FAILURE
        }
    }
}
