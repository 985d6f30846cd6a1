//! Environment variables: an empty one counts as unset, an unknown one is reported as a mistake.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use clap::Arg;

use super::error::quote;
use super::{command, names, simulate};

/// Prefix of all our variables.
const PREFIX: &str = "SPEDE_";

/// Ignores an argument's variable if it is empty: compose files pass unset variables that way.
pub(super) fn without_empty(argument: Arg) -> Arg {
    let value = argument.get_env().and_then(std::env::var_os);
    match value.is_some_and(|value| value.is_empty()) {
        true => argument.env(None::<&str>),
        false => argument,
    }
}

/// A warning for each variable with our prefix that is not empty and unknown.
pub fn unknown_variables(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Vec<String> {
    let all: BTreeMap<OsString, OsString> = variables.into_iter().collect();
    let known = known();
    let unknown = all.iter().filter_map(|(name, value)| {
        let name = name.to_string_lossy();
        let rest = name.strip_prefix(PREFIX)?;
        let is_known = known.iter().any(|known| *known == rest);
        let is_none = is_known || value.is_empty() || is_of_kubernetes(rest, value);
        (!is_none).then(|| rest.to_owned())
    });
    unknown.map(|rest| line(&rest, &known)).collect()
}

/// The names of our variables, without the prefix.
fn known() -> Vec<String> {
    let (server, simulation) = (command::command(), simulate::command());
    let arguments = server.get_arguments().chain(simulation.get_arguments());
    let mut known: Vec<String> = arguments
        .filter_map(|argument| argument.get_env()?.to_str()?.strip_prefix(PREFIX))
        .map(str::to_owned)
        .collect();
    known.sort_unstable();
    known.dedup();
    known
}

fn line(rest: &str, known: &[String]) -> String {
    let name = quote(&format!("{PREFIX}{rest}"));
    match nearest(rest, known) {
        Some(nearest) => {
            format!("{name} in the environment is unknown; did you mean {PREFIX}{nearest}?")
        }
        None => format!("{name} in the environment is unknown; see spede --help"),
    }
}

fn nearest<'a>(rest: &str, known: &'a [String]) -> Option<&'a str> {
    let known = known.iter().map(String::as_str);
    match names::elsewhere(rest) {
        Some(meant) => {
            let variable = meant.to_ascii_uppercase().replace('-', "_");
            known.into_iter().find(|name| *name == variable)
        }
        None => names::nearest(rest, known),
    }
}

/// Whether Kubernetes or Docker set it for a service called `spede`: they pass its address, in up to seven
/// variables per port.
fn is_of_kubernetes(rest: &str, value: &OsStr) -> bool {
    let protocols = ["_TCP", "_UDP", "_SCTP"];
    let is_url = value.to_string_lossy().contains("://");
    match rest.strip_prefix("PORT") {
        Some("") => is_url,
        Some(port) => protocols.iter().any(|protocol| port.contains(protocol)),
        None => rest == "SERVICE_HOST" || rest.starts_with("SERVICE_PORT"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_unknown_variable_is_named_with_the_one_that_is_nearest() {
        #[rustfmt::skip]
        let cases = [
            // name                         value               the line ends with
            ("SPEDE_MAPCACHE",              "1GiB",             Some("did you mean SPEDE_MAP_CACHE?")),
            ("SPEDE_MAP_CASHE",             "1GiB",             Some("did you mean SPEDE_MAP_CACHE?")),
            ("SPEDE_LISTENS",               "80",               Some("did you mean SPEDE_LISTEN?")),
            ("SPEDE_ACCESSLOG",             "-",                Some("did you mean SPEDE_ACCESS_LOG?")),
            ("SPEDE_map_cache",             "1GiB",             Some("did you mean SPEDE_MAP_CACHE?")),
            ("SPEDE_PORT",                  "8080",             Some("did you mean SPEDE_LISTEN?")),
            ("SPEDE_LOG",                   "-",                Some("did you mean SPEDE_ACCESS_LOG?")),
            ("SPEDE_XYZZY",                 "1",                Some("see spede --help")),
            ("SPEDE_",                      "1",                Some("see spede --help")),
            ("SPEDE_MAP_CACHE",             "1GiB",             None),
            ("SPEDE_ROOT",                  "/srv",             None),
            ("SPEDE_MAPCACHE",              "",                 None),
            ("SPEED_LISTEN",                "80",               None),
            ("LISTEN",                      "80",               None),
            // A Kubernetes service, or a Docker link.
            ("SPEDE_PORT",                  "tcp://10.0.0.1:80", None),
            ("SPEDE_PORT_80_TCP_ADDR",      "10.0.0.1",         None),
            ("SPEDE_PORT_80_TCP",           "tcp://10.0.0.1:80", None),
            ("SPEDE_SERVICE_HOST",          "10.0.0.1",         None),
            ("SPEDE_SERVICE_PORT_HTTP",     "80",               None),
        ];
        for (name, value, want) in cases {
            let lines = unknown_variables([(name.into(), value.into())]);
            match want {
                None => assert_eq!(lines, [""; 0], "{name}={value}"),
                Some(end) => {
                    let [line] = &lines[..] else {
                        panic!("{name}={value}: {lines:?}");
                    };
                    assert!(line.contains(name) && line.ends_with(end), "{line}");
                }
            }
        }
    }
}
