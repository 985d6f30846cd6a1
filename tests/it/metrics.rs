//! The numbers for Prometheus: equal to those of the status page, in a valid format.

use std::collections::HashMap;
use std::io::Write;
use std::process::{Command, Stdio};

use super::harness::{Server, is_installed, skip};
use super::status::site;

/// Parses metrics: families with their types, and samples with their values; as far as both formats agree.
pub fn metrics_of(text: &str, is_open: bool) -> (HashMap<String, String>, HashMap<String, f64>) {
    let mut described = HashMap::new();
    let mut values = HashMap::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        match words[..] {
            ["#", "TYPE", name, kind] => {
                assert!(described.insert(name.to_owned(), kind.to_owned()).is_none());
            }
            ["#", "UNIT", ..] | ["#", "EOF"] => assert!(is_open, "{line}"),
            ["#", "HELP", ..] => {}
            // A sample: labels may have spaces in them.
            _ if !line.starts_with('#') => {
                let (name, value) = line.rsplit_once(' ').unwrap();
                let family = name.split('{').next().unwrap();
                let suffixes = ["_bucket", "_count", "_sum"];
                let of_histogram = suffixes
                    .iter()
                    .find_map(|suffix| family.strip_suffix(suffix))
                    .filter(|family| {
                        described
                            .get(*family)
                            .is_some_and(|kind| kind == "histogram")
                    });
                let is_counter = family.ends_with("_total");
                let family = match is_open {
                    true => family.strip_suffix("_total").unwrap_or(family),
                    false => family,
                };
                let family = of_histogram.unwrap_or(family);
                assert!(family.starts_with("spede_"), "{line}");
                assert_eq!(described[family] == "counter", is_counter, "{line}");
                let value: f64 = value.parse().unwrap();
                assert!(values.insert(name.to_owned(), value).is_none(), "{line}");
            }
            _ => panic!("{line}"),
        }
    }
    (described, values)
}

#[test]
fn metrics_are_the_same_numbers_for_the_same_peers() {
    let site = site();
    let server = Server::start(&site, &[]);
    let mut client = server.connect();
    for _ in 0..5 {
        client.get("/a", &[]);
        client.get("/none", &[]);
    }
    let open = "Accept: application/openmetrics-text;version=1.0.0;q=0.5,text/plain;q=0.3";
    let cases = [
        (vec![open], "application/openmetrics-text; version=1.0.0"),
        (vec!["Accept: text/plain"], "text/plain; version=0.0.4"),
        (vec![], "text/plain; version=0.0.4"),
    ];
    for (fields, wanted) in cases {
        let response = client.get("/metrics", &fields);
        let kind = response.field("content-type").unwrap();
        assert!(kind.starts_with(wanted), "{kind}");
        let text = String::from_utf8(response.body).unwrap();
        let is_open = fields == [open];
        assert_eq!(text.ends_with("# EOF\n"), is_open, "{text}");
        let (_, values) = metrics_of(&text, is_open);
        assert!((values["spede_responses_total{code=\"404\"}"] - 5.0).abs() < 0.5);
        assert!(values["spede_cache_hits_total{cache=\"path\"}"] >= 7.0);
        assert!(values["spede_cache_negative_entries{cache=\"path\"}"] >= 1.0);
        let longest = values
            .iter()
            .find(|(name, _)| name.starts_with("spede_loop_longest_turn_seconds{cause="));
        assert!(*longest.unwrap().1 > 0.0);
        assert!(values["spede_cache_eviction_age_seconds_count{cache=\"map\"}"] < 0.5);
        assert!(values["spede_loop_turn_duration_seconds_count"] > 5.0);
    }
    // Who is refused the page is refused the metrics too.
    let field = ["X-Forwarded-For: 192.0.2.1"];
    assert_eq!(client.get("/metrics", &field).status, 404);
    let hidden = Server::start(&site, &["--status", "off"]);
    assert_eq!(hidden.get("/metrics").status, 404);
}

#[test]
fn promtool_accepts_the_metrics() {
    if !is_installed("promtool") {
        return skip("promtool is not installed (Debian: prometheus)");
    }
    let site = site();
    let server = Server::start(&site, &[]);
    server.get("/a");
    let text = server.get("/metrics").body;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    promtool.stdin.take().unwrap().write_all(&text).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
